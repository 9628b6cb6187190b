#include "cli/result_file.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/report.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {

ResultFile::ResultFile(const std::string& path, const std::string& run_digest) : path_(path) {
  const std::string journal = path + ".journal";
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored)) {
    std::ifstream in(journal);
    std::string written;
    if (!std::getline(in, written))
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
  std::ifstream in(path_, std::ios::binary);
  std::stringstream content;
  content << in.rdbuf();
  const std::string text = content.str();
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
