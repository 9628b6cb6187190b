// How bench's records are written: as they come (jsonl, csv), or all together at the end (json, md).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace stagformer::internal {

class BenchOutput {
 public:
  using Record = nlohmann::ordered_json;

  /// md | csv | json | jsonl
  explicit BenchOutput(std::string format) : format_(std::move(format)) {}

  /// What can be printed of a record before the others are known; may be empty.
  std::string add(const Record& record);
  /// The rest.
  std::string finish() const;
  const std::vector<Record>& records() const { return records_; }

 private:
  std::string format_;
  std::vector<Record> records_;
};

}  // namespace stagformer::internal
