// Slices cover a dataset once and in order, and the checksum is of all of them together.
#include "checkpoint/dataset_stream.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "unit/checkpoint/sample_checkpoint.hpp"

namespace stagformer::internal {
namespace {

using test::has;

const std::string kDown = "sections/1/layers/0/feed_forward/down/weight";  // [64, 96], f32

class DatasetStream : public test::CheckpointTest {
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

TEST_F(DatasetStream, SlicesAreWholeRowsInOrder) {
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

TEST_F(DatasetStream, ChecksumIsOfAllSlices) {
  EXPECT_EQ(failure_of_streaming(1000), "no error");
  test::flip_bit(path("a.h5"), read_checkpoint_index(path("a.h5")).datasets.at(kDown).offset + 50 * 96 * 4);
  for (const std::int64_t slice_bytes : {1000, 1 << 20})
    EXPECT_TRUE(has(failure_of_streaming(slice_bytes), kDown + ": wrong checksum"));
}

TEST_F(DatasetStream, RowsAreCountedFromTheStart) {
  const float bad = std::numeric_limits<float>::infinity();
  std::fstream file(path("a.h5"), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(read_checkpoint_index(path("a.h5")).datasets.at(kDown).offset + (50 * 96 + 95) * 4);
  file.write(reinterpret_cast<const char*>(&bad), 4);
  file.close();
  EXPECT_TRUE(has(failure_of_streaming(1000), "not finite in row 50"));
}

}  // namespace
}  // namespace stagformer::internal
