// Bytes by pread: whole datasets, rows, vectors; files that changed since the index was made; wrong
// checksums.
#include "checkpoint/tensor_reader.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <thread>

#include "unit/checkpoint/sample_checkpoint.hpp"

namespace stagformer::internal {
namespace {

using test::has;

class Reader : public test::CheckpointTest {
 protected:
  void SetUp() override {
    test::SampleOptions options{NumberFormat::bf16};
    options.writer.split = true;
    test::write_sample(path("a.h5"), test::sample_config(), options);
    index_ = read_checkpoint_index(path("a.h5"));
  }
  std::string refusal(const std::function<void(TensorReader&)>& action, bool verify = true) {
    TensorReader reader(index_, verify);
    return test::message_of<CheckpointError>([&] { action(reader); });
  }
  std::vector<std::byte> room(const std::string& name) const {
    return std::vector<std::byte>(static_cast<std::size_t>(index_.datasets.at(name).bytes));
  }
  std::string file_of(const std::string& name) const {
    return path_of_file(index_, index_.datasets.at(name).file);
  }

  CheckpointIndex index_;
};

const std::string kUp = "sections/1/layers/1/feed_forward/up/weight";
const std::string kNorm = "sections/1/memory_norm/weight";

TEST_F(Reader, RowsAreThoseOfTheWhole) {
  TensorReader reader(index_, true);
  std::vector<std::byte> whole = room(kUp);
  reader.read(kUp, whole);
  std::vector<std::byte> rows(5 * 64 * 2);
  reader.read_rows(kUp, 91, 5, rows);
  EXPECT_EQ(std::memcmp(rows.data(), whole.data() + 91 * 64 * 2, rows.size()), 0);
  EXPECT_EQ(reader.bytes_read(), whole.size() + rows.size());
  EXPECT_THROW(reader.read_rows(kUp, 92, 5, rows), Error);
  EXPECT_THROW(reader.read_rows(kUp, 0, 4, rows), Error);
  EXPECT_THROW(reader.read("no such dataset", rows), Error);
}

TEST_F(Reader, VectorsAreValues) {
  TensorReader reader(index_, true);
  EXPECT_EQ(reader.read_vector(kNorm), test::sample_values(kNorm, 64));
}

TEST_F(Reader, ManyThreadsMayRead) {
  TensorReader reader(index_, true);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (const auto& [name, info] : index_.datasets) {
        std::vector<std::byte> stored = room(name);
        reader.read(name, stored);
      }
    });
  for (std::thread& thread : threads) thread.join();
  std::int64_t all = 0;
  for (const auto& [name, info] : index_.datasets) all += info.bytes;
  EXPECT_EQ(reader.bytes_read(), 4u * static_cast<std::uint64_t>(all));
}

TEST_F(Reader, WrongChecksumNamesFileAndDataset) {
  // Behind the first 64 KiB, which the file's own hash covers.
  const DatasetInfo& info = index_.datasets.at(kUp);
  ASSERT_GT(info.offset + 100, 64 << 10);
  test::flip_bit(file_of(kUp), info.offset + 100);
  std::vector<std::byte> stored = room(kUp);
  EXPECT_TRUE(has(refusal([&](TensorReader& reader) { reader.read(kUp, stored); }),
                  file_of(kUp) + ": " + kUp + ": wrong checksum"));
  EXPECT_EQ(refusal([&](TensorReader& reader) { reader.read(kUp, stored); }, false), "no error");
}

TEST_F(Reader, ValuesThatAreNotFiniteAreFound) {
  test::SampleOptions options;
  test::write_sample(path("b.h5"), test::sample_config(), options);
  index_ = read_checkpoint_index(path("b.h5"));
  const float infinite = std::numeric_limits<float>::infinity();
  std::fstream file(path("b.h5"), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(index_.datasets.at(kNorm).offset + 17 * 4);
  file.write(reinterpret_cast<const char*>(&infinite), 4);
  file.close();
  index_ = read_checkpoint_index(path("b.h5"));
  EXPECT_TRUE(has(refusal([&](TensorReader& reader) { reader.read_vector(kNorm); }, false),
                  path("b.h5") + ": " + kNorm + ": value 17 is not finite"));
}

TEST_F(Reader, FilesOtherThanTheIndexsAreRefused) {
  const std::string section = file_of(kUp);
  test::flip_bit(section, 5000);
  EXPECT_TRUE(has(refusal([](TensorReader& reader) { reader.check_files(); }),
                  section + ": this rank's file differs from rank 0's in its first 64 KiB"));
  std::filesystem::resize_file(section, std::filesystem::file_size(section) - 1);
  EXPECT_TRUE(has(refusal([](TensorReader& reader) { reader.check_files(); }),
                  "this rank's file differs from rank 0's"));
  std::filesystem::remove(section);
  EXPECT_TRUE(
      has(refusal([](TensorReader& reader) { reader.check_files(); }), section + ": cannot be opened"));
  // Files that a rank does not need may be missing there.
  EXPECT_EQ(refusal([](TensorReader& reader) { reader.read_vector("final_norm/weight"); }), "no error");
}

TEST_F(Reader, FileCutWhileItIsReadIsTruncated) {
  TensorReader reader(index_, true);
  reader.check_files();
  std::filesystem::resize_file(file_of(kUp),
                               static_cast<std::uintmax_t>(index_.datasets.at(kUp).offset + 10));
  std::vector<std::byte> stored = room(kUp);
  EXPECT_TRUE(has(test::message_of<CheckpointError>([&] { reader.read(kUp, stored); }), kUp + ": truncated"));
}

}  // namespace
}  // namespace stagformer::internal
