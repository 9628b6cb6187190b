// What neighbouring ranks can expect of the link between them, over the engine's own transport: latency,
// bandwidth, whether a message travels while its sender computes, and how far apart the clocks are. Rank 0
// prints a JSON object a link. launch/check-hosts starts it and judges.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <thread>
#include <vector>

#include "base/phase_clock.hpp"
#include "base/statistics.hpp"
#include "comm/mpi_session.hpp"
#include "comm/transport.hpp"

namespace stagformer::internal {
namespace {

constexpr int kLatencyRounds = 100, kBandwidthRounds = 8, kOverlapRounds = 20, kClockRounds = 30;
constexpr std::size_t kBandwidthBytes = std::size_t{1} << 20;
// Hidden states of a step: from one sequence of a small model to a large batch of a large one.
constexpr std::array<std::size_t, 5> kOverlapBytes{4096, 16384, 65536, 262144, 1048576};
constexpr double kComputeS = 2e-3;     // what a section computes while its message travels, about
constexpr double kStallTimeoutS = 30;  // a link over which nothing comes
constexpr int kDataTag = 1, kGoTag = 2;

/// Of rank r with rank r - 1, measured on r.
struct Link {
  double latency_us = 0;
  double gb_per_s = 0;
  double overlap_bytes = 0;  // the largest message that travels by itself; 0: none does
  double clock_s = 0;        // this rank's wall clock minus rank 0's
};

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// Both directions between this rank and another. `bytes` of a message may be fewer than the buffers hold.
class Line {
 public:
  Line(Transport& world, int peer, std::size_t capacity, int tag)
      : world_(world), peer_(peer), out_(capacity), in_(capacity) {
    send_ = world.make_send(out_, peer, tag);
    receive_ = world.make_receive(in_, peer, tag);
  }
  ~Line() {
    world_.release(send_);
    world_.release(receive_);
  }
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  void expect() { world_.start_receive(receive_); }
  void start(std::size_t bytes) { world_.start_send(send_, bytes); }
  void finish() { world_.wait(send_, {"a message to leave", peer_}); }
  void await() { world_.wait(receive_, {"a message of the probe", peer_}); }
  std::vector<std::byte>& out() { return out_; }
  const std::vector<std::byte>& in() const { return in_; }

 private:
  Transport& world_;
  int peer_;
  std::vector<std::byte> out_, in_;
  Transport::Request send_ = -1, receive_ = -1;
};

/// Half of a round trip, median; the side that measures begins.
double one_way_s(Line& line, bool measures, std::size_t bytes, int rounds) {
  std::vector<double> times;
  for (int i = 0; i < rounds + rounds / 8; ++i) {  // some to warm up
    const double begin = now_seconds();
    line.expect();
    if (measures) line.start(bytes);
    line.await();
    if (!measures) line.start(bytes);
    line.finish();
    if (i >= rounds / 8) times.push_back(0.5 * (now_seconds() - begin));
  }
  return median(times);
}

/// Whether a message arrives while its sender computes and calls nothing; the side that measures receives.
/// Once is enough: on a busy machine other work only ever adds to the time.
bool overlaps(Line& data, Line& go, bool measures, std::size_t bytes, double alone_s) {
  const double compute_s = std::clamp(4 * alone_s, kComputeS, 10 * kComputeS);
  std::vector<double> times;
  for (int i = 0; i < kOverlapRounds; ++i) {
    if (measures) {
      data.expect();
      const double begin = now_seconds();
      go.start(1);
      data.await();
      times.push_back(now_seconds() - begin);
      go.finish();
    } else {
      go.expect();
      go.await();
      data.start(bytes);
      for (const double end = now_seconds() + compute_s; now_seconds() < end;) {
      }
      data.finish();
    }
  }
  return measures && *std::ranges::min_element(times) < compute_s;
}

Link measure(Transport& world, int peer, bool measures) {
  Line data(world, peer, kBandwidthBytes, kDataTag), go(world, peer, 1, kGoTag);
  Link link;
  link.latency_us = 1e6 * one_way_s(data, measures, 8, kLatencyRounds);
  link.gb_per_s =
      1e-9 * double(kBandwidthBytes) / one_way_s(data, measures, kBandwidthBytes, kBandwidthRounds);
  for (const std::size_t bytes : kOverlapBytes) {
    // Both sides must compute for the same time: the sender's own measurement is good enough for either.
    const double alone_s = one_way_s(data, measures, bytes, 8);
    if (overlaps(data, go, measures, bytes, alone_s)) link.overlap_bytes = double(bytes);
  }
  return link;
}

/// Rank 0 answers with its wall clock; the fastest of several questions is the one to believe.
double clock_offset_s(Transport& world, int peer) {
  Line line(world, peer, sizeof(double), kDataTag);
  double best_trip = 1e9, offset = 0;
  for (int i = 0; i < kClockRounds; ++i) {
    line.expect();
    if (world.rank() == 0) {
      line.await();
      const double now = wall_seconds();
      std::memcpy(line.out().data(), &now, sizeof now);
      line.start(sizeof now);
    } else {
      const double before = wall_seconds();
      line.start(sizeof(double));
      line.await();
      const double after = wall_seconds();
      double remote = 0;
      std::memcpy(&remote, line.in().data(), sizeof remote);
      if (after - before < best_trip) {
        best_trip = after - before;
        offset = 0.5 * (before + after) - remote;
      }
    }
    line.finish();
  }
  return offset;
}

/// Links between an even rank and the next first, then the others: neighbours measure at the same time, as
/// they talk at the same time, and no rank has two measurements at once.
Link measure_own(Transport& world) {
  Link link;
  const int rank = world.rank();
  for (const int parity : {0, 1}) {
    world.barrier();
    const bool is_lower = rank % 2 == parity;
    const int peer = is_lower ? rank + 1 : rank - 1;
    if (peer < 0 || peer >= world.size()) continue;
    const Link measured = measure(world, peer, !is_lower);
    if (!is_lower) link = measured;
  }
  world.barrier();
  for (int peer = 1; peer < world.size(); ++peer) {
    if (rank == 0) clock_offset_s(world, peer);
    if (rank == peer) link.clock_s = clock_offset_s(world, 0);
  }
  return link;
}

void print(const std::vector<Link>& links, const std::vector<Bytes>& hosts) {
  const auto host = [&](std::size_t rank) {
    return std::string(reinterpret_cast<const char*>(hosts[rank].data()), hosts[rank].size());
  };
  for (std::size_t rank = 1; rank < links.size(); ++rank)
    std::printf(
        R"({"from": %zu, "to": %zu, "from_host": "%s", "to_host": "%s", "latency_us": %.3f, "gb_per_s": %.4f, "overlap_bytes": %.0f, "clock_s": %.9f})"
        "\n",
        rank - 1, rank, host(rank - 1).c_str(), host(rank).c_str(), links[rank].latency_us,
        links[rank].gb_per_s, links[rank].overlap_bytes, links[rank].clock_s);
}

/// --yield: waits give the core away, for hosts that share cores with each other; --spin: as they come.
int probe(int argc, char** argv) {
  const MpiSession session(argc, argv);
  session.check_world();
  const auto world = session.world();
  world->set_stall_timeout(kStallTimeoutS);
  const bool is_crowded = session.local_size() > static_cast<int>(std::thread::hardware_concurrency());
  world->set_yield(is_crowded || (argc > 1 && std::string(argv[1]) == "--yield"));
  try {
    const std::vector<Link> links = gather_values(*world, measure_own(*world));
    const std::string name = world->host_name();
    const auto* bytes = reinterpret_cast<const std::byte*>(name.data());
    const std::vector<Bytes> hosts = world->all_gather(Bytes(bytes, bytes + name.size()));
    if (world->rank() == 0) print(links, hosts);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "stagformer: error: rank %d: %s\n", world->rank(), error.what());
    MpiSession::abort(5);
  }
  return 0;
}

}  // namespace
}  // namespace stagformer::internal

int main(int argc, char** argv) {
  try {
    return stagformer::internal::probe(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "stagformer: error: %s\n", error.what());
    return 5;
  }
}
