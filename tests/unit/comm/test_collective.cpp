// Loop collectives over threads and over MPI.
#include "comm/collective.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <random>
#include <thread>

#include "stagformer/error.hpp"
#include "support/rank_world.hpp"

namespace stagformer::internal {
namespace {

using test::for_each_rank;

std::vector<LocalOptions> worlds() {
  return {{}, {.rendezvous = true}, {.rendezvous = true, .random_delay_us = 300, .seed = 7}};
}

std::byte value(int rank, int call, std::size_t i) {
  return static_cast<std::byte>(rank * 101 + call * 13 + static_cast<int>(i));
}

std::size_t size_of(int call) {
  constexpr std::size_t kSizes[] = {16, 16, 1, 5000, 0, 333, 16, 10000};
  return kSizes[static_cast<std::size_t>(call) % std::size(kSizes)];
}

constexpr std::size_t kCapacity = 10000;
constexpr int kCalls = 24;

// Now and then a rank dawdles, so that others get ahead as far as the collective lets them.
class Dawdler {
 public:
  explicit Dawdler(int rank) : random_(static_cast<unsigned>(rank) + 1) {}
  void maybe() {
    if (random_() % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random_() % 400));
  }

 private:
  std::minstd_rand random_;
};

void broadcast_often(Transport& transport, int root) {
  TreeBroadcast broadcast(transport, root, kCapacity, 3);
  Dawdler dawdler(transport.rank());
  for (int call = 0; call < kCalls; ++call) {
    dawdler.maybe();
    const std::size_t bytes = size_of(call);
    if (transport.rank() == root) {
      const auto buffer = broadcast.acquire({.what = "a slot"});
      ASSERT_EQ(buffer.size(), kCapacity);
      for (std::size_t i = 0; i < bytes; ++i) buffer[i] = value(root, call, i);
    }
    broadcast.start(bytes);
    const auto data = broadcast.wait({.what = "the broadcast", .step = call});
    dawdler.maybe();
    ASSERT_EQ(data.size(), bytes);
    for (std::size_t i = 0; i < bytes; ++i) ASSERT_EQ(data[i], value(root, call, i)) << "call " << call;
  }
  transport.barrier();
}

TEST(TreeBroadcast, EveryRankReadsEveryCallInOrder) {
  for (const LocalOptions& options : worlds())
    for (int n = 1; n <= 9; ++n)
      for (const int root : {0, n / 2, n - 1})
        for_each_rank(
            n, [root](Transport& transport) { broadcast_often(transport, root); }, options);
}

// The root does not wait for anybody: it ends its call before the others begin theirs.
TEST(TreeBroadcast, TheRootRunsAhead) {
  for_each_rank(4, [](Transport& transport) {
    TreeBroadcast broadcast(transport, 3, 64, 1);
    if (transport.rank() != 3) transport.barrier();
    for (int call = 0; call < 2; ++call) {
      if (transport.rank() == 3) broadcast.acquire({})[0] = static_cast<std::byte>(call);
      broadcast.start(64);
      EXPECT_EQ(broadcast.wait({.what = "the broadcast"})[0], static_cast<std::byte>(call));
    }
    if (transport.rank() == 3) transport.barrier();
    transport.barrier();
  });
}

TEST(TreeBroadcast, RanksThatDisagreeAboutTheSizeAreFound) {
  if (test::mpi_world() != nullptr) return;  // the failing rank must not leave MPI's others behind
  EXPECT_THROW(for_each_rank(2,
                             [](Transport& transport) {
                               TreeBroadcast broadcast(transport, 0, 64, 1);
                               broadcast.start(transport.rank() == 0 ? 16 : 8);
                               broadcast.wait({.what = "the broadcast"});
                             }),
               CommError);
}

void gather_often(Transport& transport) {
  AllGather gather(transport, kCapacity, 4);
  Dawdler dawdler(transport.rank());
  for (int call = 0; call < kCalls; ++call) {
    dawdler.maybe();
    const std::size_t bytes = size_of(call);
    for (std::size_t i = 0; i < bytes; ++i) gather.mine()[i] = value(transport.rank(), call, i);
    gather.start(bytes);
    std::ranges::fill(gather.mine(), std::byte{0xee});  // taken by start()
    const auto all = gather.wait({.what = "the gather", .step = call});
    ASSERT_EQ(all.size(), bytes * static_cast<std::size_t>(transport.size()));
    for (int r = 0; r < transport.size(); ++r)
      for (std::size_t i = 0; i < bytes; ++i)
        ASSERT_EQ(all[static_cast<std::size_t>(r) * bytes + i], value(r, call, i))
            << "rank " << r << ", call " << call;
  }
  transport.barrier();
}

TEST(AllGather, EveryRankReadsAllRecordsInOrder) {
  for (const LocalOptions& options : worlds())
    for (int n = 1; n <= 9; ++n) for_each_rank(n, gather_often, options);
}

TEST(AllGather, TestAloneDrivesItToTheEnd) {
  for_each_rank(5, [](Transport& transport) {
    AllGather gather(transport, 8, 4);
    gather.mine()[0] = static_cast<std::byte>(transport.rank());
    gather.start(8);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!gather.test() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    ASSERT_TRUE(gather.test());
    for (std::size_t r = 0; r < 5; ++r) EXPECT_EQ(gather.wait({})[r * 8], static_cast<std::byte>(r));
    transport.barrier();
  });
}

// As when a message outgrows its exchange: a new one under a new tag, with no meeting of the ranks in
// between.
TEST(AllGather, MayBeReplacedOnceIdle) {
  for (const LocalOptions& options : worlds())
    for (const int n : {2, 3, 4, 6})
      for_each_rank(
          n,
          [n](Transport& transport) {
            Dawdler dawdler(transport.rank());
            for (int generation = 0; generation < 6; ++generation) {
              const std::size_t bytes = std::size_t{1000} << generation;
              AllGather gather(transport, bytes, generation);
              for (int call = 0; call < 3; ++call) {
                gather.mine()[bytes - 1] = static_cast<std::byte>(transport.rank() + call);
                dawdler.maybe();
                gather.start(bytes);
                const auto all = gather.wait({.what = "the gather"});
                for (int r = 0; r < n; ++r)
                  ASSERT_EQ(all[static_cast<std::size_t>(r + 1) * bytes - 1],
                            static_cast<std::byte>(r + call));
              }
              transport.wait_until([&] { return gather.idle(); }, {.what = "the last records to leave"});
            }
            transport.barrier();
          },
          options);
}

// As in the decode loop: a broadcast, then an all-gather, many times, with no other meeting between the
// calls.
TEST(Collectives, AlternateWithoutMixing) {
  for (const LocalOptions& options : worlds())
    for (const int n : {2, 3, 4, 7})
      for_each_rank(
          n,
          [n](Transport& transport) {
            TreeBroadcast broadcast(transport, n - 1, 256, 1);
            AllGather gather(transport, 32, 2);
            Dawdler dawdler(transport.rank());
            for (int step = 0; step < 100; ++step) {
              if (transport.rank() == n - 1) broadcast.acquire({})[0] = static_cast<std::byte>(step);
              broadcast.start(256);
              dawdler.maybe();
              const std::byte seen = broadcast.wait({.what = "z", .step = step})[0];
              ASSERT_EQ(seen, static_cast<std::byte>(step));
              gather.mine()[0] = static_cast<std::byte>(step + transport.rank());
              gather.start(32);
              const auto all = gather.wait({.what = "candidates", .step = step});
              for (int r = 0; r < n; ++r)
                ASSERT_EQ(all[static_cast<std::size_t>(r) * 32], static_cast<std::byte>(step + r));
            }
            transport.barrier();
          },
          options);
}

}  // namespace
}  // namespace stagformer::internal
