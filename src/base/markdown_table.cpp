#include "base/markdown_table.hpp"

#include <algorithm>
#include <cstddef>

namespace stagformer::internal {
namespace {

constexpr std::size_t kLeastWidth = 3;

std::string line(const std::vector<std::string>& row, const std::vector<std::size_t>& widths) {
  std::string out = "|";
  for (std::size_t c = 0; c < row.size(); ++c)
    out += " " + std::string(widths[c] - row[c].size(), ' ') + row[c] + " |";
  return out + "\n";
}

}  // namespace

void MarkdownTable::drop_columns_of(const std::string& value) {
  for (std::size_t c = rows_.front().size(); c-- > 0;)
    if (std::all_of(rows_.begin() + 1, rows_.end(), [&](const auto& row) { return row[c] == value; }))
      for (auto& row : rows_) row.erase(row.begin() + static_cast<std::ptrdiff_t>(c));
}

std::string MarkdownTable::text() const {
  std::vector<std::size_t> widths(rows_.front().size(), kLeastWidth);
  for (const auto& row : rows_)
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  std::string out = line(rows_.front(), widths) + "|";
  for (const std::size_t width : widths) out += std::string(width + 1, '-') + ":|";
  out += "\n";
  for (std::size_t r = 1; r < rows_.size(); ++r) out += line(rows_[r], widths);
  return out;
}

}  // namespace stagformer::internal
