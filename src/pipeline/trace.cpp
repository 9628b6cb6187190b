#include "pipeline/trace.hpp"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/phase_clock.hpp"
#include "pipeline/tags.hpp"

namespace stagformer::internal {
namespace {

constexpr int kRoundTrips = 20;

/// Rank 0's part of one rank's round trips: answers each question with its clock.
void answer_clock(Transport& world, int peer) {
  std::byte question{};
  double clock = 0;
  const std::span<std::byte> clock_bytes = std::as_writable_bytes(std::span(&clock, 1));
  const auto receive = world.make_receive(std::span(&question, 1), peer, tag(Tag::clock_question));
  const auto send = world.make_send(clock_bytes, peer, tag(Tag::clock_answer));
  for (int i = 0; i < kRoundTrips; ++i) {
    world.start_receive(receive);
    world.wait(receive, {"clock question", peer, i});
    clock = now_seconds();
    world.start_send(send, clock_bytes.size());
    world.wait(send, {"clock answer", peer, i});
  }
  world.release(receive);
  world.release(send);
}

double ask_clock(Transport& world) {
  std::byte question{};
  double clock = 0, best_trip = 1e9, offset = 0;
  const std::span<std::byte> clock_bytes = std::as_writable_bytes(std::span(&clock, 1));
  const auto send = world.make_send(std::span(&question, 1), 0, tag(Tag::clock_question));
  const auto receive = world.make_receive(clock_bytes, 0, tag(Tag::clock_answer));
  for (int i = 0; i < kRoundTrips; ++i) {
    const double before = now_seconds();
    world.start_receive(receive);
    world.start_send(send, 1);
    world.wait(send, {"clock question", 0, i});
    world.wait(receive, {"clock answer", 0, i});
    const double after = now_seconds();
    if (after - before >= best_trip) continue;
    best_trip = after - before;
    offset = clock - 0.5 * (before + after);
  }
  world.release(send);
  world.release(receive);
  return offset;
}

nlohmann::json event_of(const TraceSpan& span, int rank, double origin_s) {
  std::string name = name_of(span.kind);
  if (span.section >= 0) name += " " + std::to_string(span.section);
  return {{"name", name},
          {"cat", name_of(span.kind)},
          {"ph", "X"},
          {"pid", rank},
          {"tid", 0},
          {"ts", (span.begin_s - origin_s) * 1e6},
          {"dur", (span.end_s - span.begin_s) * 1e6},
          {"args", {{"pass", span.pass}, {"rows", span.rows}, {"section", span.section}}}};
}

}  // namespace

const char* name_of(TraceSpan::Kind kind) {
  switch (kind) {
    case TraceSpan::Kind::section:
      return "section";
    case TraceSpan::Kind::wait_input:
      return "wait for input of section";
    case TraceSpan::Kind::wait_memory:
      return "wait for memory of section";
    case TraceSpan::Kind::absorb:
      return "project memory of section";
    case TraceSpan::Kind::read_out:
      return "read-out";
    case TraceSpan::Kind::send:
      return "wait for a send slot";
  }
  return "";
}

double clock_offset(Transport& world) {
  double offset = 0;
  for (int rank = 1; rank < world.size(); ++rank) {
    if (world.rank() == 0) answer_clock(world, rank);
    if (world.rank() == rank) offset = ask_clock(world);
  }
  return offset;
}

std::string gather_trace(Transport& world, const Trace& trace, double offset_s) {
  std::vector<TraceSpan> mine = trace.spans();
  for (TraceSpan& span : mine) {
    span.begin_s += offset_s;
    span.end_s += offset_s;
  }
  Bytes bytes(mine.size() * sizeof(TraceSpan));
  if (!bytes.empty()) std::memcpy(bytes.data(), mine.data(), bytes.size());
  const std::vector<Bytes> all = world.all_gather(bytes);
  if (world.rank() != 0) return {};

  std::vector<std::vector<TraceSpan>> spans(all.size());
  double origin = 1e300;
  for (std::size_t r = 0; r < all.size(); ++r) {
    spans[r].resize(all[r].size() / sizeof(TraceSpan));
    if (!spans[r].empty()) std::memcpy(spans[r].data(), all[r].data(), all[r].size());
    for (const TraceSpan& span : spans[r]) origin = std::min(origin, span.begin_s);
  }
  nlohmann::json events = nlohmann::json::array();
  for (std::size_t r = 0; r < spans.size(); ++r) {
    const int rank = static_cast<int>(r);
    events.push_back({{"name", "process_name"},
                      {"ph", "M"},
                      {"pid", rank},
                      {"args", {{"name", "rank " + std::to_string(rank)}}}});
    for (const TraceSpan& span : spans[r]) events.push_back(event_of(span, rank, origin));
  }
  return nlohmann::json{{"traceEvents", events}, {"displayTimeUnit", "ms"}}.dump();
}

}  // namespace stagformer::internal
