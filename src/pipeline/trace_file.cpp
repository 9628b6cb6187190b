#include "pipeline/trace_file.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>

#include "base/check.hpp"
#include "pipeline/tags.hpp"

namespace stagformer::internal {
namespace {

template <typename Value>
void append(Bytes& bytes, const Value* values, std::size_t count) {
  static_assert(std::is_trivially_copyable_v<Value>);
  const auto* begin = reinterpret_cast<const std::byte*>(values);
  bytes.insert(bytes.end(), begin, begin + count * sizeof(Value));
}

template <typename Value>
const std::byte* take(const std::byte* from, std::vector<Value>& values) {
  if (values.empty()) return from;
  std::memcpy(values.data(), from, values.size() * sizeof(Value));
  return from + values.size() * sizeof(Value);
}

struct RankHeader {
  std::uint64_t spans = 0, messages = 0, dropped = 0;
  double clock_error_s = 0;
};

Bytes packed(const RankTrace& mine) {
  const RankHeader header{mine.spans.size(), mine.messages.size(), mine.dropped, mine.clock_error_s};
  Bytes bytes;
  append(bytes, &header, 1);
  append(bytes, mine.spans.data(), mine.spans.size());
  append(bytes, mine.messages.data(), mine.messages.size());
  return bytes;
}

RankTrace unpacked(const Bytes& bytes) {
  RankHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  RankTrace trace;
  trace.clock_error_s = header.clock_error_s;
  trace.dropped = header.dropped;
  trace.spans.resize(header.spans);
  trace.messages.resize(header.messages);
  take(take(bytes.data() + sizeof header, trace.spans), trace.messages);
  return trace;
}

RankTrace corrected(const Trace& trace, const TraceClock& clock) {
  RankTrace mine{"", clock.error_s(), trace.dropped(), trace.spans(), trace.messages()};
  for (TraceSpan& span : mine.spans) {
    span.begin_s = clock.on_rank_0(span.begin_s);
    span.end_s = clock.on_rank_0(span.end_s);
  }
  for (TraceMessage& message : mine.messages) message.at_s = clock.on_rank_0(message.at_s);
  return mine;
}

/// What both ends of a message have in common: kind, sender, receiver, pass.
using MessageKey = std::tuple<TraceMessage::Kind, int, int, std::int64_t>;

/// Of one replica: the ends of candidates by pass.
struct Exchange {
  int last = -1;
  double last_sent_s = 0;
  std::vector<std::pair<int, double>> taken;  // rank, time
};

void add_exchanges(const std::map<std::pair<int, std::int64_t>, Exchange>& exchanges,
                   std::vector<TraceArrow>& arrows) {
  for (const auto& [key, exchange] : exchanges)
    for (const auto& [rank, at_s] : exchange.taken)
      if (rank != exchange.last && exchange.last >= 0)
        arrows.push_back(
            {TraceMessage::Kind::candidates, exchange.last, rank, key.second, exchange.last_sent_s, at_s});
}

/// Nanoseconds from the earliest span: whole numbers, so that what nests or lies inside still does when
/// printed.
class Times {
 public:
  explicit Times(const std::vector<RankTrace>& ranks) {
    double first = std::numeric_limits<double>::max();
    for (const RankTrace& rank : ranks)
      for (const TraceSpan& span : rank.spans) first = std::min(first, span.begin_s);
    origin_s_ = first;
  }
  std::int64_t ns(double at_s) const { return std::llround((at_s - origin_s_) * 1e9); }

 private:
  double origin_s_ = 0;
};

std::string microseconds(std::int64_t ns) {
  const std::string digits = std::to_string(std::abs(ns) % 1000);
  return (ns < 0 ? "-" : "") + std::to_string(std::abs(ns) / 1000) + "." +
         std::string(3 - digits.size(), '0') + digits;
}

std::string field(const char* name, const std::string& value) {
  return std::string(",\"") + name + "\":" + value;
}

void write_span(std::string& out, const TraceSpan& span, int rank, const Times& times) {
  const std::int64_t begin = times.ns(span.begin_s), end = times.ns(span.end_s);
  const std::string section = span.section >= 0 ? " " + std::to_string(span.section) : "";
  out += std::string(",\n{\"ph\":\"X\",\"name\":\"") + name_of(span.kind) + section + "\",\"cat\":\"" +
         name_of(span.kind) + "\"";
  out += field("pid", std::to_string(rank)) + field("tid", "0") + field("ts", microseconds(begin)) +
         field("dur", microseconds(end - begin));
  out += ",\"args\":{\"pass\":" + std::to_string(span.pass) + field("rows", std::to_string(span.rows)) +
         field("section", std::to_string(span.section)) + "}}";
}

void write_end(std::string& out, const TraceArrow& arrow, std::size_t id, bool is_start, const Times& times) {
  out += std::string(",\n{\"ph\":") + (is_start ? "\"s\"" : R"("f","bp":"e")") + ",\"name\":\"" +
         name_of(arrow.kind) + R"(","cat":"message")";
  out += field("id", std::to_string(id)) + field("pid", std::to_string(is_start ? arrow.from : arrow.to)) +
         field("tid", "0") + field("ts", microseconds(times.ns(is_start ? arrow.sent_s : arrow.taken_s))) +
         ",\"args\":{\"pass\":" + std::to_string(arrow.pass) + "}}";
}

std::string head_of(const std::vector<RankTrace>& ranks) {
  nlohmann::json other = {{"program", "stagformer"}, {"dropped", nlohmann::json::array()}};
  for (const RankTrace& rank : ranks) {
    other["clock_error_us"].push_back(rank.clock_error_s * 1e6);
    other["dropped"].push_back(rank.dropped);
  }
  return R"({"displayTimeUnit":"ms","otherData":)" +
         other.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + ",\n\"traceEvents\":[";
}

std::string names_of(const RankTrace& rank, int number) {
  const std::string name = "rank " + std::to_string(number) + (rank.host.empty() ? "" : " on " + rank.host);
  const nlohmann::json events[] = {
      {{"ph", "M"}, {"name", "process_name"}, {"pid", number}, {"args", {{"name", name}}}},
      {{"ph", "M"}, {"name", "process_sort_index"}, {"pid", number}, {"args", {{"sort_index", number}}}}};
  std::string out = number > 0 ? ",\n" : "\n";
  out += events[0].dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + ",\n" + events[1].dump();
  return out;
}

}  // namespace

std::vector<TraceArrow> arrows_of(const std::vector<RankTrace>& ranks, const Grid& grid) {
  std::map<MessageKey, std::pair<std::optional<double>, std::optional<double>>> ends;
  std::map<std::pair<int, std::int64_t>, Exchange> exchanges;  // by replica and pass
  for (int rank = 0; rank < static_cast<int>(ranks.size()); ++rank) {
    const int first = grid.replica_of(rank) * grid.ranks_per_replica();
    for (const TraceMessage& m : ranks[static_cast<std::size_t>(rank)].messages) {
      const int peer = first + m.peer;
      if (m.kind != TraceMessage::Kind::candidates) {
        auto& [sent, taken] = ends[{m.kind, m.sent ? rank : peer, m.sent ? peer : rank, m.pass}];
        (m.sent ? sent : taken) = m.at_s;
        continue;
      }
      Exchange& exchange = exchanges[{first, m.pass}];
      if (!m.sent)
        exchange.taken.emplace_back(rank, m.at_s);
      else if (exchange.last < 0 || m.at_s > exchange.last_sent_s)
        exchange.last = rank, exchange.last_sent_s = m.at_s;
    }
  }
  std::vector<TraceArrow> arrows;
  for (const auto& [key, times] : ends) {
    const auto& [kind, from, to, pass] = key;
    if (times.first && times.second) arrows.push_back({kind, from, to, pass, *times.first, *times.second});
  }
  add_exchanges(exchanges, arrows);
  return arrows;
}

std::string trace_json(const std::vector<RankTrace>& ranks, const Grid& grid) {
  const Times times(ranks);
  std::string out = head_of(ranks);
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    const int rank = static_cast<int>(r);
    out += names_of(ranks[r], rank);
    std::vector<TraceSpan> spans = ranks[r].spans;  // outer ones first
    std::ranges::stable_sort(spans, {},
                             [](const TraceSpan& span) { return std::tuple(span.begin_s, -span.end_s); });
    for (const TraceSpan& span : spans) write_span(out, span, rank, times);
  }
  std::size_t id = 0;
  for (const TraceArrow& arrow : arrows_of(ranks, grid)) {
    write_end(out, arrow, ++id, true, times);
    write_end(out, arrow, id, false, times);
  }
  return out + "\n]}\n";
}

std::vector<RankTrace> gather_trace(Transport& world, const Trace& trace, const TraceClock& clock) {
  RankTrace mine = corrected(trace, clock);
  if (world.rank() != 0) {
    world.post(packed(mine), 0, tag(Tag::trace));
    world.flush_posts();
    return {};
  }
  std::vector<RankTrace> all(static_cast<std::size_t>(world.size()));
  all[0] = std::move(mine);
  for (int left = world.size() - 1; left > 0; --left) {
    std::optional<std::pair<int, Bytes>> arrived;
    world.wait_until([&] { return (arrived = world.poll(tag(Tag::trace))).has_value(); },
                     {"the traces of the other ranks"});
    all.at(static_cast<std::size_t>(arrived->first)) = unpacked(arrived->second);
  }
  for (std::size_t r = 0; r < all.size(); ++r) all[r].host = world.host_of(static_cast<int>(r));
  return all;
}

}  // namespace stagformer::internal
