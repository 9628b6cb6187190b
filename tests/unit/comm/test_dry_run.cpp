// What a call costs on a thousand ranks, counted without any.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <map>

#include "comm/collective.hpp"
#include "comm/dry_run_transport.hpp"
#include "comm/tree_sum.hpp"

namespace stagformer::internal {
namespace {

std::size_t log2_ceil(int n) {
  return static_cast<std::size_t>(std::bit_width(static_cast<unsigned>(n - 1)));
}

TEST(DryRun, RecordsSendsAndReceivesZeros) {
  DryRunTransport transport(2, 1000);
  Bytes out(16, std::byte{1}), in(16, std::byte{1});
  const auto send = transport.make_send(out, 999, 4);
  const auto receive = transport.make_receive(in, 1, 4);
  transport.start_receive(receive);
  transport.start_send(send, 10);
  EXPECT_TRUE(transport.test(send) && transport.test(receive));
  EXPECT_EQ(in, Bytes(16));
  ASSERT_EQ(transport.sends().size(), 1U);
  EXPECT_EQ(transport.sends()[0].peer, 999);
  EXPECT_EQ(transport.sends()[0].tag, 4);
  EXPECT_EQ(transport.sends()[0].bytes, 10U);
  EXPECT_EQ(transport.messages_sent(), 1U);
  EXPECT_EQ(transport.bytes_sent(), 10U);
}

TEST(DryRun, ABroadcastReachesEveryRankOnceInLogarithmicDepth) {
  for (const int n : {1, 2, 3, 5, 64, 1000, 1024})
    for (const int root : {0, n - 1, n / 3}) {
      std::vector<std::vector<int>> children(static_cast<std::size_t>(n));
      std::vector<int> reached(static_cast<std::size_t>(n), 0);
      for (int rank = 0; rank < n; ++rank) {
        DryRunTransport transport(rank, n);
        TreeBroadcast broadcast(transport, root, 64, 1);
        broadcast.start(48);
        EXPECT_TRUE(broadcast.test());
        EXPECT_LE(transport.sends().size(), log2_ceil(n));
        for (const auto& sent : transport.sends()) {
          EXPECT_EQ(sent.bytes, 48U);
          ++reached[static_cast<std::size_t>(sent.peer)];
          children[static_cast<std::size_t>(rank)].push_back(sent.peer);
        }
      }
      for (int rank = 0; rank < n; ++rank)
        EXPECT_EQ(reached[static_cast<std::size_t>(rank)], rank == root ? 0 : 1);
      // Round in which each rank has the data, when a rank sends one message a round: what the depth costs.
      std::vector<std::size_t> round(static_cast<std::size_t>(n), 0);
      std::vector<int> queue{root};
      for (std::size_t i = 0; i < queue.size(); ++i) {
        const auto at = static_cast<std::size_t>(queue[i]);
        for (std::size_t k = 0; k < children[at].size(); ++k) {
          round[static_cast<std::size_t>(children[at][k])] = round[at] + k + 1;
          queue.push_back(children[at][k]);
        }
      }
      EXPECT_EQ(queue.size(), static_cast<std::size_t>(n)) << "every rank is reached from the root";
      EXPECT_LE(*std::ranges::max_element(round), log2_ceil(n));
    }
}

TEST(DryRun, AnAllGatherSendsALogarithmOfMessages) {
  for (const int n : {1, 2, 3, 9, 1000, 1024}) {
    for (int rank = 0; rank<n; rank += n> 100 ? 37 : 1) {
      DryRunTransport transport(rank, n);
      AllGather gather(transport, 32, 1);
      gather.start(24);
      EXPECT_TRUE(gather.test());
      EXPECT_EQ(transport.sends().size(), log2_ceil(n));
      EXPECT_EQ(transport.bytes_sent(), static_cast<std::uint64_t>(n - 1) * 24);
    }
  }
}

TEST(DryRun, ATreeSumSendsAFewMessagesEachToItsReceiver) {
  for (const int ranks : {1, 2, 6, 512, 1024}) {
    const int sections = ranks == 512 ? 1024 : ranks;
    std::map<std::pair<int, int>, int>
        receivers;  // by (peer, tag): every message has one receiver and one sender
    for (int rank = 0; rank < ranks; ++rank) {
      DryRunTransport transport(rank, ranks);
      const std::vector<float> vector(8);
      const std::vector<const float*> own(static_cast<std::size_t>(sections / ranks), vector.data());
      TreeSum sum(transport, sections, 8, 100);
      sum.start(own, 8);
      EXPECT_TRUE(sum.test());
      EXPECT_LE(transport.sends().size(), 2U);
      for (const auto& sent : transport.sends()) {
        EXPECT_EQ(sent.bytes, 32U);
        EXPECT_GE(sent.tag, 100);
        EXPECT_LT(sent.tag, 100 + sections);
        EXPECT_EQ(++receivers[std::pair(sent.peer, sent.tag)], 1);
      }
    }
    if (sections == ranks) {
      EXPECT_EQ(receivers.size(), static_cast<std::size_t>(ranks - 1));
    }
  }
}

}  // namespace
}  // namespace stagformer::internal
