// What only the transport between threads has: rendezvous, delays, poison.
#include "comm/local_transport.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <stdexcept>
#include <thread>

#include "comm/channel.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

struct Pair {
  explicit Pair(const LocalOptions& options)
      : world(2, options), a(world.endpoint(0)), b(world.endpoint(1)) {}
  LocalWorld world;
  std::unique_ptr<Transport> a, b;
};

TEST(LocalTransport, AnEagerSendIsDoneOnceCopied) {
  Pair ranks({});
  const Bytes out(4, std::byte{7});
  const auto send = ranks.a->make_send(out, 1, 3);
  ranks.a->start_send(send, 4);
  EXPECT_TRUE(ranks.a->test(send));
}

TEST(LocalTransport, ARendezvousSendIsDoneOnlyWhenItsReceiveTookIt) {
  Pair ranks({.rendezvous = true});
  const Bytes out(4, std::byte{7});
  Bytes in(4);
  const auto send = ranks.a->make_send(out, 1, 3);
  ranks.a->start_send(send, 4);
  EXPECT_FALSE(ranks.a->test(send));
  const auto other = ranks.b->make_receive(in, 0, 4);  // another tag
  ranks.b->start_receive(other);
  EXPECT_FALSE(ranks.b->test(other));
  EXPECT_FALSE(ranks.a->test(send));
  const auto receive = ranks.b->make_receive(in, 0, 3);
  ranks.b->start_receive(receive);
  EXPECT_TRUE(ranks.b->test(receive));
  EXPECT_TRUE(ranks.a->test(send));
  EXPECT_EQ(in, out);
  ranks.b->release(other);
}

TEST(LocalTransport, AMessageTakesItsDelay) {
  Pair ranks({.delay_us = 20000});
  const Bytes out(1);
  Bytes in(1);
  const auto send = ranks.a->make_send(out, 1, 0);
  const auto receive = ranks.b->make_receive(in, 0, 0);
  ranks.b->start_receive(receive);
  const auto begin = std::chrono::steady_clock::now();
  ranks.a->start_send(send, 1);
  EXPECT_FALSE(ranks.b->test(receive));
  ranks.b->wait(receive, {});
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::microseconds(20000));
}

TEST(LocalTransport, RandomDelaysShuffleSendersButNotOneSendersMessages) {
  constexpr int kSenders = 30, kMessages = 3;
  const LocalWorld world(kSenders + 1, {.random_delay_us = 20000, .seed = 11});
  for (int message = 0; message < kMessages; ++message)
    for (int sender = 0; sender < kSenders; ++sender)
      world.endpoint(sender)->post(Bytes(1, static_cast<std::byte>(message)), kSenders, 1);
  const auto receiver = world.endpoint(kSenders);
  std::vector<int> order, next(kSenders, 0);
  while (order.size() < std::size_t{kSenders} * kMessages)
    if (const auto message = receiver->poll(1)) {
      EXPECT_EQ(static_cast<int>(message->second[0]), next[static_cast<std::size_t>(message->first)]++);
      order.push_back(message->first);
    }
  int overtaken = 0;
  for (std::size_t i = 1; i < order.size(); ++i) overtaken += order[i] < order[i - 1] ? 1 : 0;
  EXPECT_GT(overtaken, kMessages) << "the messages came as they were sent";
}

TEST(LocalTransport, AMessageLongerThanItsBufferIsRefused) {
  Pair ranks({});
  const Bytes out(9);
  Bytes in(8);
  const auto send = ranks.a->make_send(out, 1, 0);
  const auto receive = ranks.b->make_receive(in, 0, 0);
  ranks.b->start_receive(receive);
  ranks.a->start_send(send, 9);
  EXPECT_THROW(ranks.b->test(receive), CommError);
}

TEST(LocalTransport, AReleasedReceiveIsNeverWritten) {
  Pair ranks({});
  const Bytes out(1, std::byte{9});
  Bytes first(1), second(1);
  const auto released = ranks.b->make_receive(first, 0, 0);
  ranks.b->start_receive(released);
  ranks.b->release(released);
  const auto receive = ranks.b->make_receive(second, 0, 0);
  ranks.b->start_receive(receive);
  const auto send = ranks.a->make_send(out, 1, 0);
  ranks.a->start_send(send, 1);
  EXPECT_TRUE(ranks.b->test(receive));
  EXPECT_EQ(first[0], std::byte{0});
  EXPECT_EQ(second[0], std::byte{9});
}

TEST(LocalTransport, ARendezvousSendIsReadWhenItIsTakenOrReleased) {
  Pair ranks({.rendezvous = true});
  Bytes kept(1, std::byte{1}), in(1);
  auto gone = std::make_unique<Bytes>(1, std::byte{2});
  const auto released = ranks.a->make_send(*gone, 1, 0);
  ranks.a->start_send(released, 1);
  ranks.a->release(released);
  (*gone)[0] = std::byte{9};
  gone.reset();
  const auto send = ranks.a->make_send(kept, 1, 0);
  ranks.a->start_send(send, 1);
  kept[0] = std::byte{3};
  const auto receive = ranks.b->make_receive(in, 0, 0);
  for (const std::byte expected : {std::byte{2}, std::byte{3}}) {
    ranks.b->start_receive(receive);
    EXPECT_TRUE(ranks.b->test(receive));
    EXPECT_EQ(in[0], expected);
  }
}

TEST(LocalTransport, SendingARequestInFlightIsAnInternalError) {
  Pair ranks({.rendezvous = true});
  const Bytes out(1);
  const auto send = ranks.a->make_send(out, 1, 0);
  ranks.a->start_send(send, 1);
  try {
    ranks.a->start_send(send, 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::internal);
  }
}

// One rank fails; the others wait for it in every way there is.
TEST(RunLocalRanks, TheFirstFailureEndsAllWaitsAndIsRethrown) {
  const auto begin = std::chrono::steady_clock::now();
  try {
    run_local_ranks(6, {}, [](Transport& transport) {
      switch (transport.rank()) {
        case 0: {
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
          throw InputError("rank 0 cannot go on");
        }
        case 1:
          return transport.barrier();
        case 2:
          transport.split(1);
          return;
        case 3: {
          ReceiveChannel receive(transport, 0, 1, 2, 8);
          receive.wait({.what = "rank 0"});
          return;
        }
        case 4:
          return transport.wait_until([&] { return transport.poll(3).has_value(); }, {.what = "a post"});
        default:
          transport.broadcast({}, 0);
      }
    });
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "rank 0 cannot go on");
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

TEST(RunLocalRanks, OthersAreToldWhoFailed) {
  std::string told;
  EXPECT_THROW(run_local_ranks(2, {},
                               [&](Transport& transport) {
                                 if (transport.rank() == 0) throw std::runtime_error("boom");
                                 try {
                                   transport.barrier();
                                 } catch (const CommError& error) {
                                   told = error.what();
                                 }
                               }),
               std::runtime_error);
  EXPECT_EQ(told, "rank 0 failed: boom");
}

TEST(RunLocalRanks, PoisonReachesSplitTransports) {
  EXPECT_THROW(run_local_ranks(3, {},
                               [](Transport& transport) {
                                 const auto part = transport.split(transport.rank() == 0 ? 0 : 1);
                                 if (transport.rank() == 0) throw InputError("gone");
                                 if (transport.rank() == 1) part->barrier();  // rank 2 never comes
                                 if (transport.rank() == 2)
                                   part->wait_until([&] { return part->poll(0).has_value(); }, {});
                               }),
               InputError);
}

}  // namespace
}  // namespace stagformer::internal
