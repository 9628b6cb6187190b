#include "cli/result_file.hpp"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/phase_clock.hpp"
#include "cli/files.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

// A killed run may take so long to be gone.
constexpr double kLockPatience = 3;  // seconds

/// What mktemp leaves behind for a script.
bool is_empty_file(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored) && std::filesystem::file_size(path, ignored) == 0;
}

/// Makes a file or the names in a folder durable, as far as its file system can.
void sync(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  (void)fsync(file);
  close(file);
}

}  // namespace

ResultFile::ResultFile(const std::string& path, const std::string& run_digest) : path_(path) {
  try {
    open(run_digest);
  } catch (...) {
    if (file_ >= 0) close(file_);
    throw;
  }
}

ResultFile::~ResultFile() {
  close(file_);
}

/// What lies there is looked at under the lock: another run may just be making it.
void ResultFile::open(const std::string& run_digest) {
  const std::string journal = path_ + ".journal";
  std::error_code ignored;
  const bool was_there = std::filesystem::exists(path_, ignored);
  file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file_ < 0) fail();
  lock();
  std::ifstream in(journal);
  std::string written;
  const bool has_journal = static_cast<bool>(std::getline(in, written));
  const bool is_empty = is_empty_file(path_);
  if (has_journal ? was_there || !is_empty : !is_empty) {
    if (!has_journal)
      throw InputError(
          path_ + " exists and is not the output of an earlier run; remove it or choose another --output");
    if (written != run_digest)
      throw InputError(path_ + " belongs to a run of another checkpoint, other prompts or other settings");
    read_finished();
  } else {
    write_file_atomically(journal, run_digest + "\n");
    sync(journal);
    const std::string folder = std::filesystem::path(path_).parent_path().string();
    sync(folder.empty() ? "." : folder);
  }
}

/// Where the file system has no locks nothing keeps a second run out.
void ResultFile::lock() {
  const double end = now_seconds() + kLockPatience;
  while (flock(file_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      spdlog::warn("{}: no lock ({}); see that no other run writes it", path_, std::strerror(errno));
      return;
    }
    if (now_seconds() > end)
      throw InputError(path_ +
                       " is being written by another run; wait for its end or choose another --output");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

void ResultFile::fail() const {
  throw InputError("cannot write " + path_ + ": " + std::strerror(errno));
}

void ResultFile::read_finished() {
  const std::string text = read_file(path_);
  std::size_t whole = 0;  // bytes of complete lines
  for (std::size_t end; (end = text.find('\n', whole)) != std::string::npos; whole = end + 1) {
    const auto line = nlohmann::json::parse(text.substr(whole, end - whole), nullptr, false);
    if (!line.is_object() || !line.contains("id"))
      throw InputError(path_ + ": the line at byte " + std::to_string(whole) + " is no result");
    finished_.insert(line["id"].dump());
  }
  bytes_ = static_cast<std::int64_t>(whole);
  if (whole < text.size()) cut_to(bytes_);
}

void ResultFile::write(const nlohmann::json& result) {
  const std::string line = result.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  try {
    append(line);
  } catch (const InputError&) {
    std::error_code ignored;  // else the next run cuts it
    std::filesystem::resize_file(path_, static_cast<std::uintmax_t>(bytes_), ignored);
    throw;
  }
  bytes_ += static_cast<std::int64_t>(line.size());
}

void ResultFile::append(const std::string& line) {
  for (std::size_t done = 0; done < line.size();) {
    const ssize_t written = ::write(file_, line.data() + done, line.size() - done);
    if (written > 0)
      done += static_cast<std::size_t>(written);
    else if (errno != EINTR)
      fail();
  }
  if (fsync(file_) != 0 && errno != EINVAL && errno != EROFS) fail();
}

void ResultFile::cut_to(std::int64_t bytes) {
  if (ftruncate(file_, static_cast<off_t>(bytes)) != 0) fail();
}

}  // namespace stagformer::internal
