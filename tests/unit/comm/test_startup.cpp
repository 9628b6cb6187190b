// Calls outside the loop: barrier, broadcast, all-gather, split, posts. Over threads and over MPI.
#include <gtest/gtest.h>

#include <atomic>
#include <numeric>

#include "comm/mpi_session.hpp"
#include "support/rank_world.hpp"

namespace stagformer::internal {
namespace {

using test::for_each_rank;

Bytes pattern(int seed, std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<std::byte>(static_cast<std::size_t>(seed) * 37 + i * 11);
  return bytes;
}

std::vector<LocalOptions> worlds() {
  return {{}, {.rendezvous = true}, {.rendezvous = true, .random_delay_us = 200, .seed = 5}};
}

TEST(StartUp, BroadcastGivesRootsBytesToAll) {
  for (int n = 1; n <= 9; ++n)
    for_each_rank(n, [n](Transport& transport) {
      for (int root = 0; root < n; ++root)
        for (const std::size_t size : {0, 1, 1000, 70000}) {
          const Bytes mine = transport.rank() == root ? pattern(root, size) : pattern(99, 5);
          EXPECT_EQ(transport.broadcast(mine, root), pattern(root, size));
        }
    });
}

TEST(StartUp, AllGatherKeepsRankOrderAndUnevenSizes) {
  for (int n = 1; n <= 9; ++n)
    for_each_rank(n, [n](Transport& transport) {
      const auto size_of = [](int rank) { return static_cast<std::size_t>(rank == 1 ? 0 : 3 + rank * 1000); };
      const auto all = transport.all_gather(pattern(transport.rank(), size_of(transport.rank())));
      ASSERT_EQ(all.size(), static_cast<std::size_t>(n));
      for (int r = 0; r < n; ++r) EXPECT_EQ(all[static_cast<std::size_t>(r)], pattern(r, size_of(r))) << r;
    });
}

TEST(StartUp, NoRankLeavesABarrierBeforeAllHaveCome) {
  std::atomic<int> come{0};  // threads share it; under MPI each process counts itself
  const bool threads = test::mpi_world() == nullptr;
  for_each_rank(4, [&](Transport& transport) {
    for (int round = 1; round <= 20; ++round) {
      ++come;
      transport.barrier();
      if (threads) {
        EXPECT_GE(come.load(), 4 * round);
      }
      transport.barrier();
    }
  });
}

TEST(StartUp, SplitOrdersByRankAndKeepsPartsApart) {
  for (int n = 1; n <= 7; ++n)
    for_each_rank(n, [n](Transport& transport) {
      const int colour = transport.rank() % 3;
      const auto part = transport.split(colour);
      EXPECT_EQ(part->rank(), transport.rank() / 3);
      EXPECT_EQ(part->size(), (n - colour + 2) / 3);
      EXPECT_EQ(part->stall_timeout_s(), transport.stall_timeout_s());
      const auto members = part->all_gather(pattern(transport.rank(), 1));
      for (std::size_t i = 0; i < members.size(); ++i)
        EXPECT_EQ(members[i], pattern(colour + 3 * static_cast<int>(i), 1));
      const auto again = part->split(0);  // a split of a split
      EXPECT_EQ(again->size(), part->size());
      again->barrier();
    });
}

TEST(StartUp, PostsOfAnySizeArriveInOrderWithTheirSender) {
  for (const LocalOptions& options : worlds())
    for (int n = 1; n <= 4; ++n)
      for_each_rank(
          n,
          [n](Transport& transport) {
            constexpr int kMessages = 6;
            const auto size_of = [](int i) { return static_cast<std::size_t>(i) * 30000; };
            for (int i = 0; i < kMessages; ++i)
              transport.post(pattern(transport.rank() + i, size_of(i)), 0, 7);
            transport.post(pattern(1, 1), 0, 8);  // another tag does not get in between
            std::vector<int> next(static_cast<std::size_t>(n), 0);
            int taken = 0;
            const auto take = [&] {
              const auto message = transport.poll(7);
              if (!message) return taken == n * kMessages;
              const auto [from, bytes] = *message;
              const int i = next[static_cast<std::size_t>(from)]++;
              EXPECT_EQ(bytes, pattern(from + i, size_of(i)));
              return ++taken == n * kMessages;
            };
            if (transport.rank() == 0) {
              transport.wait_until(take, {.what = "posts"});
              for (int i = 0; i < n; ++i)
                transport.wait_until([&] { return transport.poll(8).has_value(); }, {.what = "last posts"});
            }
            transport.flush_posts();
            EXPECT_FALSE(transport.poll(7).has_value());
          },
          options);
}

TEST(StartUp, HostTableListsEveryRankOnce) {
  for_each_rank(4, [](Transport& transport) {
    // Ranks 0, 2 on one host and 1, 3 on another, as a launcher that places round robin would.
    const auto hosts = host_table(transport, transport.rank() % 2);
    ASSERT_EQ(hosts.size(), 2U);
    EXPECT_EQ(hosts[0].ranks, (std::vector<int>{0, 2}));
    EXPECT_EQ(hosts[1].ranks, (std::vector<int>{1, 3}));
    EXPECT_EQ(hosts[0].name, transport.host_name());
  });
}

}  // namespace
}  // namespace stagformer::internal
