#include "checkpoint/tensor_reader.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <mutex>

#include "base/check.hpp"
#include "checkpoint/dataset_stream.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

constexpr std::int64_t kFileHeadBytes = 64 << 10;
/// Linux reads at most about 2 GiB a call.
constexpr std::size_t kLargestRead = std::size_t{1} << 30;

/// Reads until `out` is full; false at the end of the file, or with errno set for an error.
bool read_fully(int fd, std::int64_t offset, std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t got = pread(fd, out.data(), std::min(out.size(), kLargestRead), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) errno = 0;
    if (got <= 0) return false;
    out = out.subspan(static_cast<std::size_t>(got));
    offset += got;
  }
  return true;
}

const DatasetInfo& info_of(const CheckpointIndex& index, const std::string& name) {
  const auto found = index.datasets.find(name);
  STAG_CHECK(found != index.datasets.end(), "dataset", name);
  return found->second;
}

std::string read_failure() {
  return errno ? std::string("cannot be read: ") + std::strerror(errno) : "truncated";
}

}  // namespace

struct TensorReader::Files {
  explicit Files(const CheckpointIndex& of) : index(of), descriptors(of.files.size(), -1) {}
  ~Files() {
    for (int fd : descriptors)
      if (fd >= 0) close(fd);
  }

  /// Descriptor of a file that has been found to be the one the index was made from.
  int open_file(int file) {
    const std::lock_guard lock(mutex);
    int& fd = descriptors[file];
    if (fd >= 0) return fd;
    const std::string path = path_of_file(index, file);
    const int opened = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (opened < 0) throw CheckpointError(path + ": cannot be opened: " + std::strerror(errno));
    try {
      check_identity(opened, path, index.files[file]);
    } catch (...) {
      close(opened);
      throw;
    }
    posix_fadvise(opened, 0, 0, POSIX_FADV_SEQUENTIAL);
    return fd = opened;
  }

  /// Ranks on other hosts may see another file under the same name, such as an old copy on a local disk.
  static void check_identity(int fd, const std::string& path, const FileInfo& expected) {
    struct stat status {};
    if (fstat(fd, &status) != 0) throw CheckpointError(path + ": cannot be read: " + std::strerror(errno));
    if (status.st_size != expected.bytes)
      throw CheckpointError(path + ": this rank's file differs from rank 0's (expected " +
                            std::to_string(expected.bytes) + " bytes, found " +
                            std::to_string(status.st_size) + ")");
    std::vector<std::byte> head(static_cast<std::size_t>(std::min(expected.bytes, kFileHeadBytes)));
    if (!read_fully(fd, 0, head)) throw CheckpointError(path + ": " + read_failure());
    if (XXH3_64bits(head.data(), head.size()) != expected.head_hash)
      throw CheckpointError(path + ": this rank's file differs from rank 0's in its first 64 KiB");
  }

  const CheckpointIndex& index;
  std::mutex mutex;              // guards descriptors
  std::vector<int> descriptors;  // -1: not opened yet
  std::atomic<std::uint64_t> bytes_read{0};
};

TensorReader::TensorReader(const CheckpointIndex& index, bool verify)
    : index_(index), verify_(verify), files_(std::make_unique<Files>(index)) {}

TensorReader::~TensorReader() = default;

void TensorReader::check_files() {
  for (std::size_t i = 0; i < index_.files.size(); ++i) files_->open_file(static_cast<int>(i));
}

void TensorReader::read(const std::string& name, std::span<std::byte> out) {
  const DatasetInfo& info = info_of(index_, name);
  STAG_CHECK(static_cast<std::int64_t>(out.size()) == info.bytes, name, out.size(), info.bytes);
  DatasetStream(index_, *this, name).read(info.rows(), out.data());
}

void TensorReader::read_rows(const std::string& name, std::int64_t first, std::int64_t count,
                             std::span<std::byte> out) {
  const DatasetInfo& info = info_of(index_, name);
  const std::int64_t row_bytes = info.bytes / info.rows(), begin = info.offset + first * row_bytes;
  STAG_CHECK(first >= 0 && count >= 0 && first <= info.rows() - count, name, first, count, info.rows());
  STAG_CHECK(static_cast<std::int64_t>(out.size()) == count * row_bytes, name, out.size(), count * row_bytes);
  const int fd = files_->open_file(info.file);
  if (!read_fully(fd, begin, out))
    throw CheckpointError(path_of_file(index_, info.file), name, read_failure());
  files_->bytes_read += out.size();
}

std::vector<float> TensorReader::read_vector(const std::string& name) {
  const DatasetInfo& info = info_of(index_, name);
  STAG_CHECK(info.format == NumberFormat::f32 && info.shape.size() == 1, name);
  std::vector<float> values(static_cast<std::size_t>(info.columns()));
  read(name, std::as_writable_bytes(std::span(values)));
  const auto bad = std::find_if_not(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
  if (bad != values.end())
    throw CheckpointError(path_of_file(index_, info.file), name,
                          "value " + std::to_string(bad - values.begin()) + " is not finite");
  return values;
}

std::uint64_t TensorReader::bytes_read() const {
  return files_->bytes_read;
}

}  // namespace stagformer::internal
