#include "cli/files.hpp"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

[[noreturn]] void fail(const std::string& what) { throw InputError("cannot " + what + ": " + std::strerror(errno)); }

bool is_special(const std::string& path) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  return std::filesystem::exists(status) && !std::filesystem::is_regular_file(status) &&
         !std::filesystem::is_directory(status);
}

std::string temporary_of(const std::string& path) { return is_special(path) ? path : path + ".tmp"; }

}  // namespace

std::string read_file(const std::string& path) {
  const File file(std::fopen(path.c_str(), "rb"));
  if (!file) fail("open " + path);
  std::string text;
  std::array<char, 1 << 16> block{};
  while (const std::size_t got = std::fread(block.data(), 1, block.size(), file.get())) text.append(block.data(), got);
  if (std::ferror(file.get())) fail("read " + path);
  return text;
}

void write_file_atomically(const std::string& path, const std::string& text) {
  const std::string temporary = temporary_of(path);
  File file(std::fopen(temporary.c_str(), "wb"));
  bool good = file != nullptr;
  good = good && std::fwrite(text.data(), 1, text.size(), file.get()) == text.size();
  good = good && std::fclose(file.release()) == 0;
  good = good && (temporary == path || std::rename(temporary.c_str(), path.c_str()) == 0);
  if (good) return;
  const int reason = errno;
  if (temporary != path) std::remove(temporary.c_str());
  errno = reason;
  fail("write " + path);
}

void check_writable(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    errno = EISDIR;
    fail("write " + path);
  }
  const std::string temporary = temporary_of(path);
  const File file(std::fopen(temporary.c_str(), "ab"));
  if (!file) fail("write " + path);
  if (temporary != path) std::remove(temporary.c_str());
}

void write_stdout(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    fail("write to standard output");
}

}  // namespace stagformer::internal
