// What the messages of a decode step cost when nothing is computed: neighbour to neighbour, final states by a
// tree, candidates by an all-gather, over the project's own classes and over plain MPI in turn. Start under
// the MPI launcher with at least two ranks:
//
//     bench_messages [values of a row, default 576] [rows, default "1 8 64"]...
#include <mpi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/phase_clock.hpp"
#include "comm/channel.hpp"
#include "comm/collective.hpp"
#include "comm/mpi_session.hpp"

namespace stagformer::internal {
namespace {

constexpr int kBlocks = 15, kRounds = 300;  // blocks of the patterns alternate; a block's mean is one value
constexpr std::size_t kRecordBytes = 32;    // a greedy candidate and its header, about
constexpr int kStepTag = 10, kPingTag = 20, kPongTag = 21, kTreeTag = 100, kGatherTag = 1000;

struct Sizes {
  std::size_t hidden;  // bytes of a pass's hidden states
  std::size_t record;  // bytes of a rank's candidates
};

/// The engine's way.
class OwnMessages {
 public:
  OwnMessages(Transport& world, const Sizes& sizes)
      : sizes_(sizes),
        last_(world.size() - 1),
        rank_(world.rank()),
        z_(world, last_, sizes.hidden, kTreeTag),
        gather_(world, sizes.record, kGatherTag) {
    if (rank_ < last_) down_.emplace(world, rank_ + 1, kStepTag, 2, sizes.hidden);
    if (rank_ > 0) up_.emplace(world, rank_ - 1, kStepTag, 2, sizes.hidden);
    if (rank_ == 0 || rank_ == last_) {
      const int peer = last_ - rank_;
      ping_.emplace(world, peer, rank_ == 0 ? kPingTag : kPongTag, 2, sizes.hidden);
      pong_.emplace(world, peer, rank_ == 0 ? kPongTag : kPingTag, 2, sizes.hidden);
    }
  }

  void round_trip() {
    if (!ping_) return;
    if (rank_ == 0) send(*ping_);
    receive(*pong_);
    if (rank_ != 0) send(*ping_);
  }

  void gather() {
    gather_.start(sizes_.record);
    gather_.wait({"candidates"});
  }

  void read_out() {
    if (rank_ == last_) z_.acquire({"the tree's slot"});
    z_.start(sizes_.hidden);
    z_.wait({"z", last_});
    gather();
  }

  void step() {
    if (down_) send(*down_);
    read_out();
    if (up_) receive(*up_);
  }

 private:
  void send(SendChannel& channel) {
    channel.acquire();
    channel.post(sizes_.hidden);
  }
  static void receive(ReceiveChannel& channel) {
    channel.wait({"a message", channel.peer()});
    channel.release();
  }

  Sizes sizes_;
  int last_, rank_;
  TreeBroadcast z_;
  AllGather gather_;
  std::optional<SendChannel> down_, ping_;
  std::optional<ReceiveChannel> up_, pong_;
};

/// The same with the library's blocking calls and collectives.
class PlainMpi {
 public:
  PlainMpi(int rank, int size, const Sizes& sizes)
      : hidden_(static_cast<int>(sizes.hidden)),
        record_(static_cast<int>(sizes.record)),
        last_(size - 1),
        rank_(rank),
        out_(sizes.hidden),
        in_(sizes.hidden),
        z_(sizes.hidden),
        mine_(sizes.record),
        all_(sizes.record * static_cast<std::size_t>(size)) {}

  void round_trip() {
    if (rank_ == 0) {
      MPI_Send(out_.data(), hidden_, MPI_BYTE, last_, kPingTag, MPI_COMM_WORLD);
      MPI_Recv(in_.data(), hidden_, MPI_BYTE, last_, kPongTag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else if (rank_ == last_) {
      MPI_Recv(in_.data(), hidden_, MPI_BYTE, 0, kPingTag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      MPI_Send(out_.data(), hidden_, MPI_BYTE, 0, kPongTag, MPI_COMM_WORLD);
    }
  }

  void gather() {
    MPI_Allgather(mine_.data(), record_, MPI_BYTE, all_.data(), record_, MPI_BYTE, MPI_COMM_WORLD);
  }

  void read_out() {
    MPI_Bcast(z_.data(), hidden_, MPI_BYTE, last_, MPI_COMM_WORLD);
    gather();
  }

  void step() {
    MPI_Request requests[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
    if (rank_ > 0)
      MPI_Irecv(in_.data(), hidden_, MPI_BYTE, rank_ - 1, kStepTag, MPI_COMM_WORLD, &requests[0]);
    if (rank_ < last_)
      MPI_Isend(out_.data(), hidden_, MPI_BYTE, rank_ + 1, kStepTag, MPI_COMM_WORLD, &requests[1]);
    read_out();
    MPI_Waitall(2, requests, MPI_STATUSES_IGNORE);
  }

 private:
  int hidden_, record_, last_, rank_;
  std::vector<std::byte> out_, in_, z_, mine_, all_;
};

/// Microseconds a call: the best and the median block of each pattern.
void measure(Transport& world, std::size_t rows, std::size_t bytes,
             const std::vector<std::pair<const char*, std::function<void()>>>& patterns) {
  std::vector<std::vector<double>> times(patterns.size());
  for (int block = 0; block < kBlocks + 1; ++block)  // the first warms up
    for (std::size_t p = 0; p < patterns.size(); ++p) {
      world.barrier();
      const double begin = now_seconds();
      for (int i = 0; i < kRounds; ++i) patterns[p].second();
      if (block > 0) times[p].push_back((now_seconds() - begin) / kRounds * 1e6);
    }
  if (world.rank() != 0) return;
  for (std::size_t p = 0; p < patterns.size(); ++p) {
    std::ranges::sort(times[p]);
    std::printf("| %4zu | %8zu | %-34s | %8.2f | %8.2f |\n", rows, bytes, patterns[p].first, times[p].front(),
                times[p][times[p].size() / 2]);
  }
  std::fflush(stdout);
}

void run(Transport& world, std::size_t values, std::size_t rows) {
  const Sizes sizes{values * rows * sizeof(float), 8 + kRecordBytes * rows};
  OwnMessages own(world, sizes);
  PlainMpi plain(world.rank(), world.size(), sizes);
  world.barrier();
  measure(world, rows, sizes.hidden,
          {{"there and back, MPI", [&] { plain.round_trip(); }},
           {"there and back, channels", [&] { own.round_trip(); }},
           {"candidates, MPI_Allgather", [&] { plain.gather(); }},
           {"candidates, own", [&] { own.gather(); }},
           {"z and candidates, MPI_Bcast", [&] { plain.read_out(); }},
           {"z and candidates, own", [&] { own.read_out(); }},
           {"whole step, MPI", [&] { plain.step(); }},
           {"whole step, own", [&] { own.step(); }}});
  world.barrier();
}

std::vector<std::size_t> numbers(int argc, char** argv, int first, std::vector<std::size_t> otherwise) {
  std::vector<std::size_t> found;
  for (int i = first; i < argc; ++i) found.push_back(std::strtoul(argv[i], nullptr, 10));
  return found.empty() ? otherwise : found;
}

}  // namespace
}  // namespace stagformer::internal

int main(int argc, char** argv) {
  using namespace stagformer::internal;
  MpiSession session(argc, argv);
  const auto world = session.world();
  if (world->size() < 2) {
    std::fputs("bench_messages needs two ranks or more\n", stderr);
    return 2;
  }
  world->set_yield(session.local_size() > static_cast<int>(std::thread::hardware_concurrency()));
  if (world->rank() == 0)
    std::printf(
        "%s, %d ranks; microseconds a call\n\n| rows |    bytes | %-34s |     best |   median |\n|-----:|-"
        "-------:|:-----------------------------------|---------:|---------:|\n",
        world->library().c_str(), world->size(), "pattern");
  const std::size_t values = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 576;
  for (const std::size_t rows : numbers(argc, argv, 2, {1, 8, 64})) run(*world, values, rows);
  return 0;
}
