// Waits and their watchdog.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <thread>

#include "comm/dry_run_transport.hpp"
#include "comm/host_name.hpp"
#include "comm/local_transport.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

std::string stall_of(Transport& transport, const WaitSubject& subject) {
  try {
    transport.wait_until([] { return false; }, subject);
  } catch (const CommError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Watchdog, NamesSubjectPeerItsHostAndStep) {
  DryRunTransport transport(3, 4);
  transport.set_stall_timeout(0.05);
  EXPECT_EQ(stall_of(transport, {.what = "candidates", .step = 0}),
            "waited 0.05 s for candidates at step 0 (--stall-timeout)");
  EXPECT_EQ(stall_of(transport, {.what = "a barrier", .peer = 1}),
            "waited 0.05 s for a barrier from rank 1 (--stall-timeout)");
  transport.learn_hosts();
  EXPECT_EQ(stall_of(transport, {.what = "the memory", .peer = 2, .step = 17, .section = 1}),
            "waited 0.05 s for the memory of section 1 from rank 2 on host " + this_host_name() +
                " at step 17 (--stall-timeout)");
}

TEST(Watchdog, SplitTransportsKnowTheHostsToo) {
  run_local_ranks(4, {}, [](Transport& world) {
    EXPECT_EQ(world.split(world.rank() % 2)->host_of(1), "");
    world.learn_hosts();
    EXPECT_EQ(world.split(world.rank() % 2)->host_of(1), this_host_name());
  });
}

/// Ranks 0, 1 and 3 wait, 0 for 3 and 3 for 2; rank 2 does something else meanwhile.
TEST(Watchdog, NamesTheRankThatDoesNotWaitItself) {
  run_local_ranks(4, {}, [](Transport& world) {
    if (world.rank() == 2) std::this_thread::sleep_for(std::chrono::milliseconds(900));
    if (world.rank() == 2) return;
    world.set_stall_timeout(0.4);
    const int peer = world.rank() == 3 ? 2 : 3;
    const std::string text = stall_of(world, {.what = "z", .peer = peer});
    const std::string expected =
        "waited 0.4 s for z from rank " + std::to_string(peer) + " (--stall-timeout)";
    EXPECT_EQ(text, expected + (peer == 2 ? "" : "; no sign of rank 2"));
  });
}

TEST(Watchdog, HasNothingToAddWhereAllWait) {
  run_local_ranks(3, {}, [](Transport& world) {
    world.set_stall_timeout(0.4);
    EXPECT_EQ(stall_of(world, {.what = "z", .peer = 0}), "waited 0.4 s for z from rank 0 (--stall-timeout)");
  });
}

TEST(Watchdog, StrikesWhenTheTimeIsUpAndNotBefore) {
  for (const bool yields : {false, true}) {
    DryRunTransport transport(0, 1);
    transport.set_yield(yields);
    transport.set_stall_timeout(0.2);
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_NE(stall_of(transport, {.what = "nothing"}), "no error");
    const double waited = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    EXPECT_GE(waited, 0.2);
    EXPECT_LT(waited, 2.0);
  }
}

/// As a job that is suspended and resumed.
TEST(Watchdog, DoesNotCountTheTimeInWhichTheProcessWasStopped) {
  DryRunTransport transport(0, 1);
  transport.set_stall_timeout(1.3);
  int tests = 0;
  const auto resumed = [&] {
    if (++tests == 40) std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    return tests > 1000;
  };
  EXPECT_NO_THROW(transport.wait_until(resumed, {.what = "a message"}));
}

TEST(Watchdog, IsOffWithoutATimeout) {
  DryRunTransport transport(0, 1);
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
  EXPECT_NO_THROW(transport.wait_until([&] { return std::chrono::steady_clock::now() > end; }, {}));
}

TEST(WaitUntil, TakesAnyCallableWithoutCopyingIt) {
  DryRunTransport transport(0, 1);
  struct Counting {
    explicit Counting(int limit) : left(limit) {}
    Counting(const Counting&) = delete;
    bool operator()() { return --left <= 0; }
    int left;
  };
  Counting counting(100);
  transport.wait_until(counting, {});
  EXPECT_EQ(counting.left, 0);
  const std::function<bool()> constant = [] { return true; };
  transport.wait_until(constant, {});
}

TEST(WaitUntil, ReturnsAtOnceWhereTheConditionHolds) {
  DryRunTransport transport(0, 1);
  transport.set_stall_timeout(1e-9);
  EXPECT_NO_THROW(transport.wait_until([] { return true; }, {}));
}

TEST(Watchdog, StrikesInARealWait) {
  LocalOptions options{.stall_timeout_s = 0.1};
  const LocalWorld world(2, options);
  const auto transport = world.endpoint(1);
  Bytes buffer(8);
  const auto request = transport->make_receive(buffer, 0, 5);
  transport->start_receive(request);
  EXPECT_THROW(transport->wait(request, {.what = "a message that nobody sends", .peer = 0}), CommError);
  transport->release(request);
}

}  // namespace
}  // namespace stagformer::internal
