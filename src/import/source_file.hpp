// A foreign file, read by position. Every failure is a CheckpointError that names the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace stagformer::internal {

class SourceFile {
 public:
  /// Regular files only: a pipe would make the reader wait.
  explicit SourceFile(const std::string& path);
  ~SourceFile();
  SourceFile(const SourceFile&) = delete;
  SourceFile& operator=(const SourceFile&) = delete;

  const std::string& path() const { return path_; }
  std::int64_t bytes() const { return bytes_; }
  /// Fills `out`; a file that has become shorter meanwhile is an error.
  void read(std::int64_t offset, std::span<std::byte> out) const;
  /// The first `size` bytes.
  std::vector<std::byte> prefix(std::int64_t size) const;

 private:
  std::string path_;
  int fd_ = -1;
  std::int64_t bytes_ = 0;
};

/// All of a file that must not be larger than `most` bytes.
std::vector<std::byte> read_small_file(const std::string& path, std::int64_t most);

/// A file or folder that can be seen; one that cannot be looked at counts as missing.
bool is_present(const std::string& path);

/// One line about keys that were passed over; `where` names the file.
std::string ignored_keys_warning(const std::string& where, const std::vector<std::string>& keys);

/// "FILE: PROBLEM", with whatever the file's own words bring along made printable.
[[noreturn]] void refuse_source(const std::string& file, const std::string& problem);

}  // namespace stagformer::internal
