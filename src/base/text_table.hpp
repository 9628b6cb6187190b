// Plain tables with aligned columns: numbers to the right, words to the left.
#pragma once

#include <string>
#include <vector>

namespace stagformer::internal {

/// A number with so many digits behind the point.
std::string fixed(double value, int digits);

class TextTable {
 public:
  explicit TextTable(std::vector<std::string> head) { rows_.push_back(std::move(head)); }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  /// Lines without a newline at the end of the last.
  std::vector<std::string> lines() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace stagformer::internal
