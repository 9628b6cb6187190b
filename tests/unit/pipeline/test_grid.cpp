// The grid is plain data: every placement is checked to thousands of ranks in one process.
#include "pipeline/grid.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

/// Every section of every replica is hosted exactly once, by neighbours in order.
void expect_complete(const Grid& grid) {
  std::vector<int> hosts(static_cast<std::size_t>(grid.replicas * grid.sections));
  for (int rank = 0; rank < grid.world; ++rank) {
    const int first = grid.first_section(grid.rank_in_replica(rank));
    for (int s = first; s < first + grid.sections_per_rank(); ++s) {
      ++hosts[static_cast<std::size_t>(grid.replica_of(rank) * grid.sections + s)];
      EXPECT_EQ(grid.rank_of_section(s), grid.rank_in_replica(rank));
    }
  }
  for (const int count : hosts)
    ASSERT_EQ(count, 1) << grid.world << " ranks, " << grid.sections << " sections";
}

TEST(Grid, HostsEverySectionOnceWhereverASizeFits) {
  for (int sections = 1; sections <= 24; ++sections)
    for (int world = 1; world <= 96; ++world) {
      const bool fits = world <= sections ? sections % world == 0 : world % sections == 0;
      if (fits)
        expect_complete(make_grid(world, sections));
      else
        EXPECT_THROW(make_grid(world, sections), ConfigError)
            << world << " ranks, " << sections << " sections";
    }
  expect_complete(make_grid(4096, 1024));
}

TEST(Grid, FixedReplicasSpreadEachOverTheRestOfTheRanks) {
  const Grid grid = make_grid(4, 4, 2);
  EXPECT_EQ(grid.ranks_per_replica(), 2);
  EXPECT_EQ(grid.sections_per_rank(), 2);
  expect_complete(grid);
  expect_complete(make_grid(6, 6, 3));
  EXPECT_THROW(make_grid(4, 4, 3), ConfigError);
  EXPECT_THROW(make_grid(6, 4, 2), ConfigError);
  EXPECT_THROW(make_grid(4, 4, 0), UsageError);
}

TEST(Grid, RefusalListsTheSizesThatFit) {
  try {
    make_grid(5, 6);
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("1, 2, 3, or a multiple of 6"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace stagformer::internal
