// Channels over threads and over MPI.
#include "comm/channel.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <memory>

#include "stagformer/error.hpp"
#include "support/rank_world.hpp"

namespace stagformer::internal {
namespace {

using test::for_each_rank;

std::vector<LocalOptions> worlds() {
  return {{},
          {.rendezvous = true},
          {.random_delay_us = 100, .seed = 2},
          {.rendezvous = true, .delay_us = 20, .random_delay_us = 100, .seed = 3}};
}

std::byte value(int message, std::size_t i) {
  return static_cast<std::byte>(message * 31 + static_cast<int>(i) * 7);
}

void send_message(SendChannel& channel, int message, std::size_t bytes) {
  const auto slot = channel.acquire();
  for (std::size_t i = 0; i < bytes; ++i) slot[i] = value(message, i);
  channel.post(bytes);
}

void expect_message(std::span<const std::byte> found, int message, std::size_t bytes) {
  ASSERT_EQ(found.size(), bytes) << "message " << message;
  for (std::size_t i = 0; i < bytes; ++i) ASSERT_EQ(found[i], value(message, i)) << "message " << message;
}

// Sizes on both sides of the eager limits, changing with every message.
std::size_t size_of(int message) {
  constexpr std::size_t kSizes[] = {100, 0, 9000, 1, 100000, 100, 100, 4096};
  return kSizes[static_cast<std::size_t>(message) % std::size(kSizes)];
}

void ring(Transport& transport, int slots) {
  constexpr int kMessages = 40;
  const int n = transport.size(), rank = transport.rank();
  SendChannel send(transport, (rank + 1) % n, 5, slots, 100000);
  ReceiveChannel receive(transport, (rank + n - 1) % n, 5, slots, 100000);
  for (int message = 0; message < kMessages; ++message) {
    send_message(send, message, size_of(message));
    expect_message(receive.wait({.what = "the ring"}), message, size_of(message));
    receive.release();
  }
  transport.wait_until([&] { return send.idle(); }, {.what = "the last sends"});
  transport.barrier();
}

TEST(Channel, ARingKeepsOrderAndSizesWithAnyNumberOfSlots) {
  for (const LocalOptions& options : worlds())
    for (const int n : {1, 2, 3, 4})
      for (const int slots : {1, 2, 5})
        for_each_rank(
            n, [slots](Transport& transport) { ring(transport, slots); }, options);
}

TEST(Channel, ASenderMayRunAheadByItsAndTheReceiversSlots) {
  for (const LocalOptions& options : worlds())
    for_each_rank(
        2,
        [](Transport& transport) {
          constexpr int kSlots = 3;
          if (transport.rank() == 0) {
            SendChannel send(transport, 1, 1, kSlots, 64);
            for (int message = 0; message < kSlots; ++message)
              send_message(send, message, 64);  // nobody takes them yet
            transport.barrier();
            for (int message = kSlots; message < 100; ++message) send_message(send, message, 64);
            transport.barrier();
          } else {
            ReceiveChannel receive(transport, 0, 1, kSlots, 64);
            transport.barrier();
            for (int message = 0; message < 100; ++message) {
              expect_message(receive.wait({.what = "a message"}), message, 64);
              receive.release();
            }
            transport.barrier();
          }
        },
        options);
}

TEST(Channel, TwoChannelsOfOnePairWithDifferentTagsDoNotMix) {
  for_each_rank(2, [](Transport& transport) {
    const int peer = 1 - transport.rank();
    SendChannel send_a(transport, peer, 1, 2, 16), send_b(transport, peer, 2, 2, 16);
    ReceiveChannel receive_b(transport, peer, 2, 2, 16), receive_a(transport, peer, 1, 2, 16);
    send_message(send_a, 1, 16);
    send_message(send_b, 2, 16);
    expect_message(receive_b.wait({}), 2, 16);
    expect_message(receive_a.wait({}), 1, 16);
    transport.barrier();
  });
}

// The message is large and nothing is there to receive it yet: the send is posted and cannot be finished.
TEST(Channel, PostedButUnfinishedIsSeenByReadyIdleAndAcquire) {
  static constexpr std::size_t kLarge = std::size_t{8} << 20;
  for_each_rank(
      2,
      [](Transport& transport) {
        if (transport.rank() == 1) {
          transport.wait_until([&] { return transport.poll(9).has_value(); }, {.what = "leave to receive"});
          ReceiveChannel receive(transport, 0, 1, 1, kLarge);
          EXPECT_EQ(receive.wait({.what = "the large message"})[kLarge - 1], std::byte{42});
          return transport.barrier();
        }
        SendChannel send(transport, 1, 1, 2, kLarge);
        send.acquire()[kLarge - 1] = std::byte{42};
        send.post(kLarge);
        EXPECT_TRUE(send.ready()) << "the second slot is free";
        send.acquire();
        transport.set_stall_timeout(0.2);
        EXPECT_FALSE(send.idle());
        EXPECT_THROW(transport.wait_until([&] { return send.idle(); }, {.what = "the send"}), CommError);
        transport.set_stall_timeout(test::kTestStallTimeout);
        transport.post({}, 1, 9);
        transport.wait_until([&] { return send.idle(); }, {.what = "the send"});
        transport.barrier();
      },
      {.rendezvous = true});
}

TEST(Channel, AcquireWaitsUntilTheSlotsEarlierSendIsDone) {
  static constexpr std::size_t kLarge = std::size_t{1} << 20;
  for_each_rank(2,
                [](Transport& transport) {
                  if (transport.rank() == 1) {
                    transport.wait_until([&] { return transport.poll(9).has_value(); },
                                         {.what = "leave to receive"});
                    ReceiveChannel receive(transport, 0, 1, 1, kLarge);
                    receive.wait({.what = "the large message"});
                    return transport.barrier();
                  }
                  SendChannel send(transport, 1, 1, 1, kLarge);
                  send.acquire();
                  send.post(kLarge);
                  EXPECT_FALSE(send.ready());
                  transport.set_stall_timeout(0.1);
                  EXPECT_THROW(send.acquire({.what = "the only slot", .peer = 1}), CommError);
                  transport.set_stall_timeout(test::kTestStallTimeout);
                  transport.post({}, 1, 9);
                  EXPECT_EQ(send.acquire().size(), kLarge);
                  transport.barrier();
                },
                {.rendezvous = true});
}

template <typename Call>
ExitCode code_of(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return ExitCode::success;
}

TEST(Channel, ASlotOutOfTurnIsAnInternalError) {
  for_each_rank(1, [](Transport& transport) {
    SendChannel send(transport, 0, 1, 2, 16);
    ReceiveChannel receive(transport, 0, 1, 2, 16);
    EXPECT_EQ(code_of([&] { send.post(1); }), ExitCode::internal) << "post without acquire";
    EXPECT_EQ(code_of([&] { receive.release(); }), ExitCode::internal) << "release of a slot in flight";
    send.acquire();
    EXPECT_EQ(code_of([&] { send.acquire(); }), ExitCode::internal) << "acquire twice";
    EXPECT_EQ(code_of([&] { send.post(17); }), ExitCode::internal) << "more than the slot holds";
    send.post(16);
    receive.wait({});
    EXPECT_EQ(receive.wait({}).size(), 16U) << "the same message until it is released";
    receive.release();
    EXPECT_FALSE(receive.ready());
    EXPECT_EQ(code_of([&] { receive.release(); }), ExitCode::internal) << "release twice";
  });
}

TEST(Channel, SlotsAreAlignedToCacheLines) {
  for_each_rank(1, [](Transport& transport) {
    SendChannel send(transport, 0, 1, 3, 20);
    ReceiveChannel receive(transport, 0, 1, 3, 20);
    for (int i = 0; i < 3; ++i) {
      const auto slot = send.acquire();
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(slot.data()) % 64, 0U);
      EXPECT_EQ(slot.size(), 20U);
      send.post(20);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(receive.wait({}).data()) % 64, 0U);
      receive.release();
    }
  });
}

TEST(Channel, EndsWithoutHangingWhileRequestsAreInFlight) {
  const auto begin = std::chrono::steady_clock::now();
  for_each_rank(2,
                [](Transport& transport) {
                  ReceiveChannel never(transport, 1 - transport.rank(), 1, 3, 1000);
                  ReceiveChannel moved_from(transport, 1 - transport.rank(), 2, 1, 1000);
                  const ReceiveChannel moved(std::move(moved_from));
                },
                {.rendezvous = true});
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

}  // namespace
}  // namespace stagformer::internal
