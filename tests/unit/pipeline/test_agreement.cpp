// A failure on any rank at start-up ends the same way on all of them.
#include "pipeline/agreement.hpp"

#include <gtest/gtest.h>

#include "support/rank_world.hpp"

namespace stagformer::internal {
namespace {

std::string failure_of(Transport& world, const std::function<void()>& work) {
  try {
    agree(world, work);
  } catch (const AgreedError& error) {
    return std::to_string(static_cast<int>(error.code())) + " " + error.what();
  }
  return "none";
}

TEST(Agreement, SuccessEverywhereIsSilent) {
  test::for_each_rank(3, [](Transport& world) { EXPECT_EQ(failure_of(world, [] {}), "none"); });
}

TEST(Agreement, OneRanksFailureIsEveryonesWithRankAndHost) {
  test::for_each_rank(3, [](Transport& world) {
    const std::string failure = failure_of(world, [&] {
      if (world.rank() == 2) throw CheckpointError("a.h5", "x", "is cut");
    });
    EXPECT_EQ(failure, "4 rank 2 on " + world.host_name() + ": a.h5: x: is cut");
  });
}

TEST(Agreement, TheSameFailureOnAllIsSaidOnce) {
  test::for_each_rank(3, [](Transport& world) {
    EXPECT_EQ(failure_of(world, [] { throw InputError("no prompt"); }), "6 no prompt");
  });
}

TEST(Agreement, DifferentValuesNameTheRankAndBothSides) {
  test::for_each_rank(3, [](Transport& world) {
    try {
      agree_on(world, "build", world.rank() == 1 ? 7U : 5U, world.rank() == 1 ? "new" : "old");
      FAIL() << "no error";
    } catch (const AgreedError& error) {
      const std::string host = world.host_name();
      EXPECT_EQ(error.what(),
                "rank 1 on " + host + " has another build than rank 0 on " + host + ": new against old");
      EXPECT_EQ(error.code(), ExitCode::communication);
    }
  });
}

}  // namespace
}  // namespace stagformer::internal
