// Slices cover a dataset once and in order, and the checksum is of all of them together.
#include "checkpoint/dataset_stream.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "unit/checkpoint/sample_checkpoint.hpp"

namespace stagformer::internal {
namespace {

using test::has;

const std::string kDown = "sections/1/layers/0/feed_forward/down/weight";  // [64, 96], f32

class StreamedDataset : public test::CheckpointTest {
 protected:
  void SetUp() override { test::write_sample(path("a.h5"), test::sample_config()); }
  std::string failure_of_streaming(std::int64_t slice_bytes) {
    const CheckpointIndex index = read_checkpoint_index(path("a.h5"));
    TensorReader reader(index, true);
    return test::message_of<CheckpointError>([&] {
      stream_dataset(
          index, reader, kDown, [](const RowSlice&) {}, slice_bytes);
    });
  }
};

TEST_F(StreamedDataset, SlicesAreWholeRowsInOrder) {
  const CheckpointIndex index = read_checkpoint_index(path("a.h5"));
  TensorReader reader(index, true);
  for (const std::int64_t slice_bytes : {1, 96 * 4, 96 * 4 * 5 + 7, 1 << 20}) {
    std::vector<std::byte> all;
    std::int64_t rows = 0;
    stream_dataset(
        index, reader, kDown,
        [&](const RowSlice& slice) {
          EXPECT_EQ(slice.first, rows);
          EXPECT_LE(slice.count * 96 * 4, std::max<std::int64_t>(slice_bytes, 96 * 4));
          EXPECT_EQ(slice.stored.size(), static_cast<std::size_t>(slice.count) * 96 * 4);
          rows += slice.count;
          all.insert(all.end(), slice.stored.begin(), slice.stored.end());
        },
        slice_bytes);
    EXPECT_EQ(rows, 64);
    EXPECT_EQ(all, test::sample_stored({kDown, {64, 96}}, NumberFormat::f32));
  }
}

TEST_F(StreamedDataset, ChecksumIsOfAllSlices) {
  EXPECT_EQ(failure_of_streaming(1000), "no error");
  test::flip_bit(path("a.h5"), read_checkpoint_index(path("a.h5")).datasets.at(kDown).offset + 50 * 96 * 4);
  for (const std::int64_t slice_bytes : {1000, 1 << 20})
    EXPECT_TRUE(has(failure_of_streaming(slice_bytes), kDown + ": wrong checksum"));
}

TEST_F(StreamedDataset, RowsAreCountedFromTheStart) {
  const float bad = std::numeric_limits<float>::infinity();
  std::fstream file(path("a.h5"), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(read_checkpoint_index(path("a.h5")).datasets.at(kDown).offset + (50 * 96 + 95) * 4);
  file.write(reinterpret_cast<const char*>(&bad), 4);
  file.close();
  EXPECT_TRUE(has(failure_of_streaming(1000), "not finite in row 50"));
}

// [3000, 64] f32: one and a half of the pieces in which a read is hashed.
class LargeDataset : public test::CheckpointTest {
 protected:
  void SetUp() override {
    nlohmann::json config = test::sample_config();
    config["vocab_size"] = 3000;
    test::write_sample(path("a.h5"), config);
    index_ = read_checkpoint_index(path("a.h5"));
    expected_ = test::sample_stored({kTable, {3000, 64}}, NumberFormat::f32);
    ASSERT_GT(static_cast<std::int64_t>(expected_.size()), kSliceBytes);
  }
  /// Reads rows [first, end) in steps of the given numbers of rows, and compares them.
  void stream(TensorReader& reader, std::int64_t first, std::int64_t end, std::vector<std::int64_t> steps) {
    DatasetStream stream(index_, reader, kTable, first, end);
    for (std::size_t i = 0; stream.row() < end; ++i) {
      const std::int64_t row = stream.row(), count = std::min(steps[i % steps.size()], end - row);
      std::vector<std::byte> bytes(static_cast<std::size_t>(count * stream.row_bytes()));
      stream.read(count, bytes.data());
      EXPECT_EQ(stream.row(), row + count);
      EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), expected_.begin() + row * 64 * 4)) << row;
    }
    EXPECT_THROW(stream.read(1, nullptr), Error);
  }

  const std::string kTable = "embedding/weight";
  CheckpointIndex index_;
  std::vector<std::byte> expected_;
};

TEST_F(LargeDataset, AnyStepsGiveTheSameBytes) {
  TensorReader reader(index_, true);
  stream(reader, 0, 3000, {3000});
  stream(reader, 0, 3000, {1, 2500, 499});
  stream(reader, 77, 2900, {1000, 1});
  EXPECT_EQ(reader.bytes_read(), (2 * 3000 + 2823) * 64u * 4u);
}

// A part has no checksum of its own: what lies outside of it, and what is in it, may differ.
TEST_F(LargeDataset, OnlyTheWholeIsVerified) {
  test::flip_bit(path("a.h5"), index_.datasets.at(kTable).offset + 2950 * 64 * 4);
  TensorReader reader(index_, true), careless(index_, false);
  stream(reader, 0, 2950, {1000});
  expected_[2950 * 64 * 4] ^= std::byte{0x10};
  stream(careless, 0, 3000, {1000});
  const auto whole = [&] { stream(reader, 0, 3000, {1000}); };
  EXPECT_TRUE(has(test::message_of<CheckpointError>(whole), kTable + ": wrong checksum"));
}

}  // namespace
}  // namespace stagformer::internal
