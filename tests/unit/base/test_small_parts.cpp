// Tables, core lists, byte counts: what the log and the flags are made of.
#include <gtest/gtest.h>

#include "base/host_info.hpp"
#include "base/phase_clock.hpp"
#include "base/settings.hpp"
#include "base/text_table.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

TEST(ParseBytes, TakesPlainNumbersAndBinaryUnits) {
  EXPECT_EQ(parse_bytes("memory-limit", "8589934592"), 8589934592);
  EXPECT_EQ(parse_bytes("memory-limit", "8G"), std::int64_t{8} << 30);
  EXPECT_EQ(parse_bytes("memory-limit", "512MiB"), std::int64_t{512} << 20);
  EXPECT_EQ(parse_bytes("memory-limit", "1.5k"), 1536);
  EXPECT_EQ(parse_bytes("memory-limit", "100B"), 100);
}

TEST(ParseBytes, RefusesWhatIsNoAmountAndNamesTheFlag) {
  for (const char* text : {"", "abc", "-1", "0", "8X", "8GG", "1e30", "nan", "inf", "8 G"}) {
    try {
      parse_bytes("memory-limit", text);
      FAIL() << text;
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find("--memory-limit"), std::string::npos) << error.what();
    }
  }
}

TEST(CoreList, FoldsNeighbours) {
  EXPECT_EQ(core_list({0, 1, 2, 3, 8}), "0-3,8");
  EXPECT_EQ(core_list({5}), "5");
  EXPECT_EQ(core_list({1, 3, 5, 6}), "1,3,5-6");
  EXPECT_EQ(core_list({}), "");
}

TEST(HostInfo, SeesThisMachine) {
  EXPECT_FALSE(usable_cores().empty());
  EXPECT_GT(available_memory(), 0);
}

TEST(FormatBytes, PicksTheUnit) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(std::int64_t{3} << 30), "3.0 GiB");
  EXPECT_EQ(format_bytes(std::int64_t{20} << 20), "20 MiB");
}

TEST(TextTable, PutsNumbersRightAndWordsLeft) {
  TextTable table({"rank", "host"});
  table.add({"0", "a"});
  table.add({"10", "node"});
  EXPECT_EQ(table.lines(), (std::vector<std::string>{"rank  host", "   0  a", "  10  node"}));
}

TEST(PhaseClock, CountsTheRunningPhaseAlone) {
  PhaseClock clock;
  {
    const PhaseScope outer(clock, Phase::head);
    const PhaseScope inner(clock, Phase::sampling);
  }
  clock.enter(Phase::other);
  const auto& seconds = clock.seconds();
  EXPECT_GT(seconds[static_cast<std::size_t>(Phase::sampling)], 0);
  EXPECT_EQ(seconds[static_cast<std::size_t>(Phase::feed_forward)], 0);
  clock.reset();
  EXPECT_EQ(clock.seconds()[static_cast<std::size_t>(Phase::sampling)], 0);
}

}  // namespace
}  // namespace stagformer::internal
