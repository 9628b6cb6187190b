// The results of a batch as JSONL, written so that the same command started again goes on where this one was
// stopped. Beside OUTPUT lies OUTPUT.journal, which says what run OUTPUT belongs to. One process at a time
// has OUTPUT locked.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

namespace stagformer::internal {

class ResultFile {
 public:
  /// `run_digest`: checkpoint, prompts and settings. An existing file of the same run is continued: a line
  /// cut in two at its end is removed. Throws InputError for a file of another run, one that another process
  /// writes, or one that cannot be written.
  ResultFile(const std::string& path, const std::string& run_digest);
  ~ResultFile();
  ResultFile(const ResultFile&) = delete;
  ResultFile& operator=(const ResultFile&) = delete;

  /// Ids (as JSON text) that the file holds already.
  const std::set<std::string>& finished() const { return finished_; }
  /// Appends a line and makes it durable. Throws InputError with the system's reason; the file then ends with
  /// the last whole line.
  void write(const nlohmann::json& result);

 private:
  void lock();
  void open(const std::string& run_digest);
  void read_finished();
  void append(const std::string& line);
  void cut_to(std::int64_t bytes);
  [[noreturn]] void fail() const;

  std::string path_;
  int file_ = -1;
  std::int64_t bytes_ = 0;  // of whole lines
  std::set<std::string> finished_;
};

}  // namespace stagformer::internal
