#include "cli/result_file.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "cli/files.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

/// What mktemp leaves behind for a script.
bool is_empty_file(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored) && std::filesystem::file_size(path, ignored) == 0;
}

}  // namespace

ResultFile::ResultFile(const std::string& path, const std::string& run_digest) : path_(path) {
  const std::string journal = path + ".journal";
  std::error_code ignored;
  std::ifstream in(journal);
  std::string written;
  const bool has_journal = static_cast<bool>(std::getline(in, written));
  if (std::filesystem::exists(path, ignored) && (has_journal || !is_empty_file(path))) {
    if (!has_journal)
      throw InputError(
          path + " exists and is not the output of an earlier run; remove it or choose another --output");
    if (written != run_digest)
      throw InputError(path + " belongs to a run of another checkpoint, other prompts or other settings");
    read_finished();
  } else {
    write_file_atomically(journal, run_digest + "\n");
  }
  file_ = std::fopen(path.c_str(), "ab");
  if (!file_) fail(path);
}

ResultFile::~ResultFile() {
  if (file_) std::fclose(file_);
}

void ResultFile::fail(const std::string& path) const {
  throw InputError("cannot write " + path + ": " + std::strerror(errno));
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
  if (whole < text.size() && truncate(path_.c_str(), static_cast<off_t>(whole)) != 0) fail(path_);
}

void ResultFile::write(const nlohmann::json& result) {
  const std::string line = result.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  if (std::fwrite(line.data(), 1, line.size(), file_) != line.size() || std::fflush(file_) != 0) fail(path_);
  if (fsync(fileno(file_)) != 0 && errno != EINVAL && errno != EROFS) fail(path_);
}

}  // namespace stagformer::internal
