#include "import/source_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "stagformer/error.hpp"
#include "text/utf8.hpp"

namespace stagformer::internal {
namespace {

constexpr std::size_t kLargestRead = std::size_t{1} << 30;

}  // namespace

void refuse_source(const std::string& file, const std::string& problem) {
  throw CheckpointError(file + ": " + quotable(problem));
}

bool is_present(const std::string& path) {
  std::error_code unknown;
  return std::filesystem::exists(path, unknown);
}

std::string ignored_keys_warning(const std::string& where, const std::vector<std::string>& keys) {
  std::string names;
  for (const std::string& key : keys) names += (names.empty() ? "" : ", ") + key;
  return where + ": not known and ignored: " + quotable(names);
}

SourceFile::SourceFile(const std::string& path) : path_(path) {
  fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) refuse_source(path, std::string("cannot be opened: ") + std::strerror(errno));
  struct stat status {};
  const bool known = fstat(fd_, &status) == 0;
  if (!known || !S_ISREG(status.st_mode)) {
    close(fd_);
    refuse_source(path, "is no regular file");
  }
  bytes_ = status.st_size;
}

SourceFile::~SourceFile() {
  close(fd_);
}

void SourceFile::read(std::int64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t got = pread(fd_, out.data(), std::min(out.size(), kLargestRead), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) refuse_source(path_, std::string("cannot be read: ") + std::strerror(errno));
    if (got == 0) refuse_source(path_, "has become shorter while it was read");
    out = out.subspan(static_cast<std::size_t>(got));
    offset += got;
  }
}

std::vector<std::byte> SourceFile::prefix(std::int64_t size) const {
  std::vector<std::byte> bytes(static_cast<std::size_t>(size));
  read(0, bytes);
  return bytes;
}

std::vector<std::byte> read_small_file(const std::string& path, std::int64_t most) {
  const SourceFile file(path);
  if (file.bytes() > most)
    refuse_source(path, "has " + std::to_string(file.bytes()) + " bytes, at most " + std::to_string(most) +
                            " are expected of such a file");
  return file.prefix(file.bytes());
}

}  // namespace stagformer::internal
