// Checkpoints that a stranger wrote with h5py (tests/support/write_foreign_checkpoint.py): all are read, and
// the values are the ones meant.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "checkpoint/inspect.hpp"
#include "checkpoint/tensor_reader.hpp"
#include "unit/checkpoint/sample_checkpoint.hpp"

namespace stagformer::internal {
namespace {

std::string folder() {
  const char* name = std::getenv("STAGFORMER_FOREIGN_DIR");
  return name ? name : "STAGFORMER_FOREIGN_DIR is not set";
}

float meant(std::int64_t i) {
  return static_cast<float>((37 * i + 11) % 101 - 50) / 64;
}

/// Half a step of each format over values from -50/64 to 50/64, and what float16 scales lose.
double tolerance(NumberFormat format) {
  switch (format) {
    case NumberFormat::f32:
      return 0;
    case NumberFormat::bf16:
      return 0.002;
    case NumberFormat::q8_0:
      return 0.0035;
    case NumberFormat::q4_0:
      return 0.057;
    case NumberFormat::q4_1:
      return 0.053;
  }
  return 0;
}

void expect_values(const CheckpointIndex& index) {
  TensorReader reader(index, true);
  for (const DatasetRequest& request : schema_of(index.config)) {
    if (request.f32_only) {
      const std::vector<float> values = reader.read_vector(request.name);
      for (std::size_t i = 0; i < values.size(); ++i)
        ASSERT_EQ(values[i], 1 + meant(static_cast<std::int64_t>(i)) / 8) << request.name;
      continue;
    }
    const DatasetInfo& info = index.datasets.at(request.name);
    std::vector<std::byte> stored(static_cast<std::size_t>(info.bytes));
    reader.read(request.name, stored);
    std::vector<float> row(static_cast<std::size_t>(info.columns()));
    for (std::int64_t r = 0; r < info.rows(); ++r) {
      dequantize_row(info.format, info.columns(), stored.data() + r * (info.bytes / info.rows()), row.data());
      for (std::int64_t c = 0; c < info.columns(); ++c)
        ASSERT_NEAR(row[c], meant(r * info.columns() + c), tolerance(info.format)) << request.name;
    }
  }
}

InspectReport inspected(const std::string& name) {
  const std::string path = folder() + "/" + name;
  const InspectReport report = inspect_checkpoint(path, true);
  EXPECT_EQ(report.source, "a stranger");
  EXPECT_EQ(report.tokenizer_type, "byte");
  EXPECT_EQ(report.warnings.size(), 1u);  // no checksums
  expect_values(read_checkpoint_index(path));
  return report;
}

TEST(Foreign, StringsOfEitherKind) {
  EXPECT_EQ(inspected("variable-strings.h5").formats.size(), 1u);
  EXPECT_EQ(inspected("fixed-strings.h5").formats.count("bf16"), 1u);
}

TEST(Foreign, EveryNumberFormat) {
  for (const std::string format : {"q8_0", "q4_0", "q4_1"})
    EXPECT_EQ(inspected(format + ".h5").formats.count(format), 1u);
  EXPECT_EQ(inspected("mixed.h5").formats.size(), 5u);
}

TEST(Foreign, UserBlocksShiftTheOffsets) {
  EXPECT_EQ(inspected("user-block.h5").formats.size(), 2u);
}

TEST(Foreign, SharedWeightsInOneFileAndInSeveral) {
  EXPECT_EQ(inspected("shared.h5").linked_datasets, 18);
  const InspectReport split = inspected("split.h5");
  EXPECT_EQ(split.linked_datasets, 18);
  ASSERT_EQ(split.files.size(), 3u);
  EXPECT_EQ(split.files[1].name, "split.section-0.h5");
}

TEST(Foreign, ThePagesExampleIsACheckpoint) {
  const InspectReport report = inspect_checkpoint(folder() + "/example.h5", true);
  EXPECT_EQ(report.sections.size(), 2u);
  EXPECT_EQ(report.formats.at("bf16").datasets, 1 + 2 * 7 + 4);
}

}  // namespace
}  // namespace stagformer::internal
