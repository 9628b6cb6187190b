// What convert and import have in common: how the checkpoint that they write is asked for, and what is said
// of it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/settings.hpp"
#include "stagformer/number_format.hpp"

namespace stagformer::internal {

struct WrittenCheckpoint {
  std::optional<std::string> output;
  std::string to = "same";
  bool split = false;
  std::int64_t alignment = 4096;
  std::string log_level = "info";

  void visit(SettingsVisitor& v);
  /// Nothing: each matrix keeps its own.
  std::optional<NumberFormat> format() const;
};

/// Logs how many of the bytes are done, every two seconds.
std::function<void(std::int64_t done, std::int64_t total)> log_bytes_done();

/// Logs warnings, matrices that kept their format, `summary`, and the files.
void log_written(const std::vector<std::string>& warnings, const std::vector<std::string>& kept,
                 const std::string& summary, const std::vector<std::string>& files);

}  // namespace stagformer::internal
