// main of test programs that run under an MPI launcher. Rank 0 reports as usual, the others only their
// failures, with the rank in front. All ranks return the worst rank's result.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <sstream>

#include "comm/mpi_session.hpp"
#include "support/rank_world.hpp"

namespace {

using stagformer::internal::Bytes;
using stagformer::internal::MpiSession;

class FailurePrinter : public testing::EmptyTestEventListener {
 public:
  explicit FailurePrinter(int rank) : rank_(rank) {}

 private:
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::ostringstream out;
    out << "[rank " << rank_ << "] " << (result.file_name() != nullptr ? result.file_name() : "") << ':'
        << result.line_number() << ": " << result.message() << '\n';
    std::fputs(out.str().c_str(), stderr);
  }
  int rank_;
};

int worst_result(stagformer::internal::Transport& world, int result) {
  Bytes mine(sizeof result);
  std::memcpy(mine.data(), &result, sizeof result);
  int worst = 0;
  for (const Bytes& theirs : world.all_gather(mine)) {
    int its = 0;
    std::memcpy(&its, theirs.data(), sizeof its);
    worst = std::max(worst, its);
  }
  return worst;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    MpiSession session(argc, argv);
    testing::InitGoogleTest(&argc, argv);
    if (session.rank() > 0) {
      auto& listeners = testing::UnitTest::GetInstance()->listeners();
      delete listeners.Release(listeners.default_result_printer());
      listeners.Append(new FailurePrinter(session.rank()));
    }
    const auto world = session.world();
    world->set_stall_timeout(stagformer::test::kTestStallTimeout);
    world->set_yield(true);
    stagformer::test::mpi_world() = world.get();
    const int result = RUN_ALL_TESTS();
    return worst_result(*world, result);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "test program: %s\n", error.what());
    MpiSession::abort(1);
  }
}
