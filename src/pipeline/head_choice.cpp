#include "pipeline/head_choice.hpp"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "base/phase_clock.hpp"
#include "base/statistics.hpp"
#include "kernels/kernels.hpp"
#include "kernels/packed_matrix.hpp"
#include "model/scratch.hpp"
#include "pipeline/tags.hpp"

namespace stagformer::internal {
namespace {

constexpr int kTrips = 31, kWarmUps = 5;

double round_trip_s(Transport& replica, Transport::Request send, Transport::Request receive, int peer,
                    bool first) {
  const double begin = now_seconds();
  replica.start_receive(receive);
  if (first) replica.start_send(send, 8);
  replica.wait(receive, {"the latency measurement", peer, 0});
  if (!first) replica.start_send(send, 8);
  replica.wait(send, {"the latency measurement", peer, 0});
  return now_seconds() - begin;
}

}  // namespace

double measure_latency_s(Transport& replica) {
  const int last = replica.size() - 1, me = replica.rank();
  std::vector<double> trips;
  if (me == 0 || me == last) {
    std::byte out[8]{}, in[8]{};
    const int peer = me == 0 ? last : 0;
    const auto send = replica.make_send(out, peer, tag(Tag::latency));
    const auto receive = replica.make_receive(in, peer, tag(Tag::latency));
    for (int i = 0; i < kTrips + kWarmUps; ++i) {
      const double seconds = round_trip_s(replica, send, receive, peer, me == 0);
      if (i >= kWarmUps) trips.push_back(seconds);
    }
    replica.release(send);
    replica.release(receive);
  }
  double latency = me == 0 ? 0.5 * median(trips) : 0;
  Bytes bytes(sizeof latency);
  std::memcpy(bytes.data(), &latency, sizeof latency);
  bytes = replica.broadcast(std::move(bytes), 0);
  std::memcpy(&latency, bytes.data(), sizeof latency);
  return latency;
}

double measure_head_s(NumberFormat format, std::int64_t vocab_size, std::int64_t hidden_size,
                      const ThreadTeam& team) {
  const std::int64_t panel = packed_panel_bytes(format, hidden_size);
  const std::int64_t all_panels = (vocab_size + kPanelRows - 1) / kPanelRows;
  const std::int64_t panels = std::clamp<std::int64_t>((std::int64_t{8} << 20) / panel, 1, all_panels);
  const AlignedBuffer<std::byte> weights(static_cast<std::size_t>(panels * panel));
  Operand x(1, hidden_size);
  std::fill_n(x.values(0), hidden_size, 0.5F);
  std::vector<float> y(static_cast<std::size_t>(panels * kPanelRows));
  const PackedMatrix matrix{format, panels * kPanelRows, hidden_size, weights.data()};
  if (wants_quantized(matrix)) x.quantize(0);
  std::vector<double> times;
  for (int i = 0; i < 7; ++i) {
    const double begin = now_seconds();
    team.for_ranges(panels, matrix.rows * hidden_size, [&](std::int64_t first, std::int64_t end) {
      matmul(matrix, x.view(), 1, y.data(), panels * kPanelRows, first, end);
    });
    times.push_back(now_seconds() - begin);
  }
  return median(times) * static_cast<double>(all_panels) / static_cast<double>(panels);
}

HeadChoice choose_head_mode(double latency_s, double head_s, int ranks) {
  const int hops = std::bit_width(static_cast<unsigned>(ranks - 1));
  const double sliced = head_s / ranks + 2 * hops * latency_s, last = head_s + hops * latency_s;
  HeadChoice choice;
  choice.mode = last < sliced ? HeadMode::last : HeadMode::sliced;
  char text[160];
  std::snprintf(text, sizeof text,
                "auto: latency %.1f us, whole head %.0f us; sliced costs about %.0f us, last %.0f us",
                latency_s * 1e6, head_s * 1e6, sliced * 1e6, last * 1e6);
  choice.reason = text;
  return choice;
}

}  // namespace stagformer::internal
