// File systems without locks, and files that somebody is writing. The program's own flock() stands before
// libc's.
#include <gtest/gtest.h>
#include <sys/file.h>

#include <cerrno>

#include "checkpoint/index.hpp"
#include "unit/checkpoint/sample_checkpoint.hpp"

namespace {
int lock_error = 0;  // what flock() fails with; 0: it succeeds
int lock_calls = 0;
}  // namespace

extern "C" int flock(int, int) noexcept {
  ++lock_calls;
  errno = lock_error;
  return lock_error ? -1 : 0;
}

namespace stagformer::internal {
namespace {

class FileLocks : public test::CheckpointTest {
 protected:
  void SetUp() override { test::write_sample(path("a.h5"), test::sample_config(), options()); }
  void TearDown() override { lock_error = 0; }
  static test::SampleOptions options() {
    test::SampleOptions split;
    split.writer.split = true;
    return split;
  }
};

TEST_F(FileLocks, MissingLocksDoNotStopAReader) {
  lock_calls = 0;
  read_checkpoint_index(path("a.h5"));
  ASSERT_GT(lock_calls, 0) << "this HDF5 library locks by other means, so the test shows nothing";
  for (const int error : {ENOLCK, EOPNOTSUPP, ENOSYS, EIO}) {
    lock_error = error;
    EXPECT_NO_THROW(EXPECT_EQ(read_checkpoint_index(path("a.h5")).files.size(), 3u)) << std::strerror(error);
  }
}

TEST_F(FileLocks, MissingLocksDoNotStopAWriter) {
  lock_error = ENOLCK;
  EXPECT_NO_THROW(test::write_sample(path("b.h5"), test::sample_config(), options()));
  EXPECT_NO_THROW(read_checkpoint_index(path("b.h5")));
}

TEST_F(FileLocks, FilesInTheHandsOfAWriterAreRefused) {
  lock_error = EWOULDBLOCK;
  const std::string message = test::message_of<CheckpointError>([&] { read_checkpoint_index(path("a.h5")); });
  EXPECT_TRUE(test::has(message, "is being written by another process"));
}

}  // namespace
}  // namespace stagformer::internal
