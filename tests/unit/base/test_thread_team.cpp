#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

#include "base/thread_team.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

TEST(ThreadTeam, RangesCoverEveryPieceOnceAndPassAnExceptionOn) {
  const ThreadTeam team(3, 0);
  std::vector<int> seen(100);
  team.for_ranges(100, 100, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
  });
  EXPECT_EQ(seen, std::vector<int>(100, 1));
  EXPECT_THROW(team.for_ranges(10, 10, [](std::int64_t, std::int64_t) { throw InputError("x"); }),
               InputError);
}

TEST(ThreadTeam, SharesDifferByOneAtMostAndJoinUp) {
  for (int size = 1; size <= 7; ++size)
    for (std::int64_t count = 0; count < 30; ++count) {
      std::int64_t next = 0;
      for (int i = 0; i < size; ++i) {
        const auto [begin, end] = Worker(i, size, nullptr).share(count);
        EXPECT_EQ(begin, next);
        EXPECT_LE(end - begin, count / size + 1);
        EXPECT_GE(end - begin, count / size);
        next = end;
      }
      EXPECT_EQ(next, count);
    }
}

// Every thread adds what its neighbour wrote in the round before: one meeting too few and sums go wrong.
TEST(ThreadTeam, MeetingsSeparateTheRounds) {
  constexpr int kRounds = 2000;
  for (const bool shared_cores : {false, true}) {
    const ThreadTeam team(3, 0, shared_cores);
    std::vector<std::int64_t> value[2] = {{1, 2, 4}, {0, 0, 0}};
    team.run(1, [&](Worker& worker) {
      ASSERT_EQ(worker.size(), 3);
      const auto me = static_cast<std::size_t>(worker.index());
      for (std::size_t round = 0; round < kRounds; ++round) {
        const auto& from = value[round % 2];
        value[1 - round % 2][me] = (from[me] + from[(me + 1) % 3]) % 1000003;
        worker.meet();
      }
    });
    std::vector<std::int64_t> expected = {1, 2, 4};
    for (int round = 0; round < kRounds; ++round)
      expected = {(expected[0] + expected[1]) % 1000003, (expected[1] + expected[2]) % 1000003,
                  (expected[2] + expected[0]) % 1000003};
    EXPECT_EQ(value[kRounds % 2], expected);
  }
}

TEST(ThreadTeam, AFailureFreesThoseWhoWait) {
  const ThreadTeam team(4, 0);
  std::atomic<int> met{0};
  EXPECT_THROW(team.run(1,
                        [&](Worker& worker) {
                          if (worker.index() == 2) {
                            std::this_thread::sleep_for(std::chrono::milliseconds(20));
                            throw InputError("one thread");
                          }
                          worker.meet();
                          ++met;
                        }),
               InputError);
  EXPECT_EQ(met, 0);
}

TEST(ThreadTeam, LittleWorkIsDoneByTheCallerAlone) {
  const ThreadTeam team(4, 1000);
  const auto threads_for = [&](std::int64_t work) {
    std::atomic<int> threads{0};
    team.run(work, [&](Worker& worker) {
      worker.meet();
      ++threads;
    });
    return threads.load();
  };
  EXPECT_EQ(threads_for(999), 1);
  EXPECT_EQ(threads_for(1000), 4);
}

}  // namespace
}  // namespace stagformer::internal
