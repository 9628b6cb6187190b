// Tables of results: they read well as they are and as Markdown.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace stagformer::internal {

class MarkdownTable {
 public:
  explicit MarkdownTable(std::vector<std::string> head) { rows_.push_back(std::move(head)); }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  /// Leaves out the columns in which every row holds `value`.
  void drop_columns_of(const std::string& value);
  /// Lines, each ended by a newline.
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace stagformer::internal
