// What a checkpoint is said to hold, and what a verification finds.
#include "checkpoint/inspect.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <sstream>

#include "unit/checkpoint/sample_checkpoint.hpp"

namespace stagformer::internal {
namespace {

using test::has;

class Inspect : public test::CheckpointTest {};

// Parameters of the samples, counted by hand: d = 64, f = 96, queries 64, keys and values 32.
constexpr std::int64_t kAttention = 64 + 64 * 64 + 2 * 32 * 64 + 64 * 64;
constexpr std::int64_t kFeedForward = 64 + 3 * 64 * 96;
constexpr std::int64_t kLayer = kAttention + kFeedForward;
constexpr std::int64_t kOutside = 300 * 64 + 64;
constexpr std::int64_t kCross = 64 + 2 * kAttention;  // memory norm and two blocks

TEST_F(Inspect, CountsSeparateWeights) {
  test::write_sample(path("a.h5"), test::sample_config());
  const InspectReport report = inspect_checkpoint(path("a.h5"), true);
  EXPECT_EQ(report.total.parameters, kOutside + 4 * kLayer + kCross);
  EXPECT_EQ(report.total.bytes, 4 * report.total.parameters);
  EXPECT_EQ(report.outside.parameters, kOutside);
  ASSERT_EQ(report.sections.size(), 2u);
  EXPECT_EQ(report.sections[0].own.parameters, 2 * kLayer);
  EXPECT_EQ(report.sections[1].own.parameters, 2 * kLayer + kCross);
  EXPECT_EQ(report.sections[1].bytes, report.sections[1].own.bytes);
  EXPECT_EQ(report.sections[0].cross_attention, 0);
  EXPECT_EQ(report.sections[1].cross_attention, 2);
  EXPECT_EQ(report.linked_datasets, 0);
  EXPECT_EQ(report.with_checksum, report.total.datasets);
  EXPECT_TRUE(report.verified);
}

TEST_F(Inspect, CountsSharedWeightsOnce) {
  test::write_sample(path("a.h5"), test::shared_config(), {NumberFormat::q4_0});
  const InspectReport report = inspect_checkpoint(path("a.h5"), false);
  EXPECT_EQ(report.total.parameters, kOutside + 2 * kLayer + kCross);
  EXPECT_EQ(report.sections[1].own.parameters, kCross);
  EXPECT_EQ(report.sections[1].bytes, report.sections[0].bytes + report.sections[1].own.bytes);
  EXPECT_EQ(report.linked_datasets, 18);
  EXPECT_EQ(report.formats.at("f32").parameters, 64 * (1 + 4 + 3));
  EXPECT_EQ(report.formats.at("q4_0").bytes, report.formats.at("q4_0").parameters / 32 * 18);
  EXPECT_FALSE(report.verified);
}

TEST_F(Inspect, PrintsWhatPeopleAskFor) {
  test::SampleOptions options{NumberFormat::q8_0, {}, "huggingface", std::string(2048, 't')};
  options.writer.split = true;
  options.writer.writer = "somebody";
  options.writer.source = "a long story";
  test::write_sample(path("a.h5"), test::shared_config(), options);
  std::ostringstream out;
  inspect_checkpoint(path("a.h5"), true).print(out);
  for (const char* part :
       {"somebody", "a long story", "q8_0", "f32", "section 1", "a.section-1.h5", "huggingface, 2.0 KiB",
        "vocabulary 300", "every checksum", "sharing weights", "digest"})
    EXPECT_TRUE(has(out.str(), part));
}

TEST_F(Inspect, VerificationNamesTheDataset) {
  test::write_sample(path("a.h5"), test::sample_config(), {NumberFormat::q8_0});
  const std::string name = "sections/1/layers/1/cross_attention/o/weight";
  test::flip_bit(path("a.h5"), read_checkpoint_index(path("a.h5")).datasets.at(name).offset + 70);
  EXPECT_NO_THROW(inspect_checkpoint(path("a.h5"), false));
  EXPECT_TRUE(has(test::message_of<CheckpointError>([&] { inspect_checkpoint(path("a.h5"), true); }),
                  path("a.h5") + ": " + name + ": wrong checksum"));
}

TEST_F(Inspect, VerificationLooksAtValuesWhereThereIsNoChecksum) {
  test::write_sample(path("a.h5"), test::sample_config());
  const std::string name = "sections/0/layers/1/feed_forward/up/weight";
  const float bad = std::numeric_limits<float>::quiet_NaN();
  std::fstream file(path("a.h5"), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(read_checkpoint_index(path("a.h5")).datasets.at(name).offset + (5 * 64 + 63) * 4);
  file.write(reinterpret_cast<const char*>(&bad), 4);
  file.close();
  test::edit_file(path("a.h5"), [&](hid_t f) { H5Adelete_by_name(f, name.c_str(), "xxh3_64", H5P_DEFAULT); });
  EXPECT_TRUE(has(test::message_of<CheckpointError>([&] { inspect_checkpoint(path("a.h5"), true); }),
                  name + ": a value that is not finite in row 5"));
}

}  // namespace
}  // namespace stagformer::internal
