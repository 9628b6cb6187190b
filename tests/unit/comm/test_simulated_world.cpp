// Virtual time, against times by hand: what waits moves clocks, what happens first is seen first.
#include "comm/simulated_world.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "comm/channel.hpp"
#include "comm/collective.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

constexpr double kLatency = 10, kPerByte = 0.5, kGap = 2;

SimulatedLink link_of(double latency = kLatency, double per_byte = kPerByte, double gap = kGap) {
  return {[=](double bytes) { return latency + per_byte * bytes; }, [=](double) { return gap; }};
}

const WaitSubject kSubject{"a test's message", -1, -1};

/// n bytes from rank `from` to rank `to`, each a channel of its own.
void send(Transport& transport, int to, std::size_t bytes, int tag) {
  SendChannel channel(transport, to, tag, 1, 64);
  static_cast<void>(channel.acquire());
  channel.post(bytes);
}
std::size_t receive(Transport& transport, int from, int tag) {
  ReceiveChannel channel(transport, from, tag, 1, 64);
  return channel.wait(kSubject).size();
}

TEST(SimulatedWorld, MessagesTakeLatencyAndSendersAGap) {
  run_simulated_ranks(2, link_of(), [](Transport& transport) {
    if (transport.rank() == 0) {
      transport.sleep(100);
      send(transport, 1, 8, 1);
      EXPECT_DOUBLE_EQ(transport.now(), 100 + kGap);
      EXPECT_EQ(receive(transport, 1, 2), 0U);
      EXPECT_DOUBLE_EQ(transport.now(), 100 + (kLatency + 4) + kLatency);
    } else {
      EXPECT_EQ(receive(transport, 0, 1), 8U);
      EXPECT_DOUBLE_EQ(transport.now(), 100 + kLatency + 4);
      send(transport, 0, 0, 2);
    }
  });
}

/// A rank that is ahead finds nothing before its time, whoever was started first.
TEST(SimulatedWorld, NothingIsSeenEarlyOrLate) {
  for (const int early : {0, 1})
    run_simulated_ranks(2, link_of(), [early](Transport& transport) {
      if (transport.rank() == early) {
        transport.sleep(50);
        return send(transport, 1 - early, 0, 1);  // arrives at 60
      }
      ReceiveChannel channel(transport, early, 1, 1, 64);
      transport.sleep(59.9);
      EXPECT_FALSE(channel.ready());
      transport.sleep(0.1);
      EXPECT_TRUE(channel.ready());
      EXPECT_DOUBLE_EQ(transport.now(), 60);
    });
}

TEST(SimulatedWorld, MessagesOfASenderKeepTheirOrder) {
  run_simulated_ranks(2, link_of(0, 1, 0), [](Transport& transport) {
    constexpr std::size_t kSizes[] = {60, 1, 30};  // a later one would be there earlier
    if (transport.rank() == 0) {
      SendChannel channel(transport, 1, 1, 1, 64);
      for (const std::size_t bytes : kSizes) {
        std::ranges::fill(channel.acquire(), static_cast<std::byte>(bytes));
        channel.post(bytes);
      }
      return;
    }
    ReceiveChannel channel(transport, 0, 1, 2, 64);
    for (const std::size_t bytes : kSizes) {
      const auto message = channel.wait(kSubject);
      EXPECT_EQ(message.size(), bytes);
      EXPECT_EQ(message[0], static_cast<std::byte>(bytes));
      EXPECT_DOUBLE_EQ(transport.now(), 60);
      channel.release();
    }
  });
}

/// Six ranks: the root sends to three, with gaps between; the last of the tree hears of it at 2 gaps and 2
/// hops.
TEST(SimulatedWorld, ATreeTakesItsDepth) {
  std::vector<double> heard(6);
  run_simulated_ranks(6, link_of(kLatency, 0, kGap), [&](Transport& transport) {
    TreeBroadcast tree(transport, 0, 64, 1);
    if (transport.rank() == 0) static_cast<void>(tree.acquire(kSubject));
    tree.start(8, kSubject);
    static_cast<void>(tree.wait(kSubject));
    heard[static_cast<std::size_t>(transport.rank())] = transport.now();
  });
  EXPECT_EQ(heard, (std::vector<double>{3 * kGap, kLatency + 2 * kGap, kLatency + 2 * kGap,
                                        2 * kLatency + kGap, kLatency + kGap, 2 * kLatency}));
}

TEST(SimulatedWorld, CollectivesEndWithTheLastRank) {
  run_simulated_ranks(3, link_of(), [](Transport& transport) {
    transport.sleep(10 * transport.rank());
    transport.barrier();
    EXPECT_DOUBLE_EQ(transport.now(), 20);
    const Bytes mine(static_cast<std::size_t>(transport.rank()));
    EXPECT_EQ(transport.all_gather(mine)[2].size(), 2U);
    EXPECT_EQ(transport.broadcast(mine, 1).size(), 1U);
  });
}

TEST(SimulatedWorld, PostsArriveToo) {
  run_simulated_ranks(2, link_of(), [](Transport& transport) {
    if (transport.rank() == 0) return transport.post(Bytes(4), 1, 7);
    EXPECT_FALSE(transport.poll(7));
    transport.sleep(kLatency + 4 * kPerByte);
    const auto post = transport.poll(7);
    ASSERT_TRUE(post);
    EXPECT_EQ(post->first, 0);
    EXPECT_FALSE(transport.poll(7));
  });
}

TEST(SimulatedWorld, NobodyWaitsForEver) {
  const auto body = [](Transport& transport) {
    static_cast<void>(receive(transport, 1 - transport.rank(), 1));
  };
  try {
    run_simulated_ranks(2, link_of(), body);
    FAIL();
  } catch (const CommError& error) {
    EXPECT_NE(std::string(error.what()).find("wait for each other"), std::string::npos) << error.what();
  }
}

TEST(SimulatedWorld, AFailureEndsAllRanksAndIsTold) {
  try {
    run_simulated_ranks(8, link_of(), [](Transport& transport) {
      transport.sleep(transport.rank());
      if (transport.rank() == 3) throw InputError("three");
      transport.barrier();
    });
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "three");
  }
}

}  // namespace
}  // namespace stagformer::internal
