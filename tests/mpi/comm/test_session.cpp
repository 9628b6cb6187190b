// What the session says about the job it runs in.
#include "comm/mpi_session.hpp"

#include <gtest/gtest.h>

#include "support/rank_world.hpp"

namespace stagformer::internal {
namespace {

// main holds the session that owns MPI; another one joins it and must leave it running.
struct Joined {
  char name[8] = "program";
  char* arguments[2] = {name, nullptr};
  int count = 1;
  char** values = arguments;
  MpiSession session{count, values};
};

TEST(MpiSession, AgreesWithTheLauncherAboutTheWorld) {
  const Joined joined;
  const auto launcher = detect_launcher();
  ASSERT_TRUE(launcher.has_value()) << "these tests run under a launcher";
  EXPECT_EQ(launcher->size, joined.session.size());
  EXPECT_EQ(launcher->rank, joined.session.rank());
  EXPECT_EQ(test::mpi_world()->size(), joined.session.size());
  EXPECT_EQ(test::mpi_world()->rank(), joined.session.rank());
  EXPECT_NO_THROW(joined.session.check_world());
}

TEST(MpiSession, ASecondSessionLeavesMpiRunning) {
  { const Joined joined; }
  test::mpi_world()->barrier();
}

TEST(MpiSession, FindsTheRanksOfItsHost) {
  const Joined joined;
  const MpiSession& session = joined.session;
  const auto hosts = host_table(*test::mpi_world(), session.host_leader());
  std::size_t ranks = 0;
  for (const HostEntry& host : hosts) {
    ranks += host.ranks.size();
    if (host.ranks.front() != session.host_leader()) continue;
    EXPECT_EQ(host.name, test::mpi_world()->host_name());
    ASSERT_EQ(host.ranks.size(), static_cast<std::size_t>(session.local_size()));
    EXPECT_EQ(host.ranks[static_cast<std::size_t>(session.local_rank())], session.rank());
  }
  EXPECT_EQ(ranks, static_cast<std::size_t>(session.size()));
}

TEST(MpiSession, NamesItsLibraryInOneLine) {
  const std::string library = Joined().session.library();
  EXPECT_FALSE(library.empty());
  EXPECT_EQ(library.find_first_of("\n\t,"), std::string::npos) << library;
}

}  // namespace
}  // namespace stagformer::internal
