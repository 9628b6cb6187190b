// Rows that go through the layers together.
#pragma once

#include <cstdint>
#include <span>

namespace stagformer::internal {

class Section;

/// One position of one sequence; a batch holds at most one row a (section, slot, position).
struct Row {
  int slot = 0;               ///< which cache
  std::int64_t position = 0;  ///< from 0
};

/// Every row for every one of the sections, which have the same self-attention and feed-forward weights: each
/// is read once for all of them. Cross-attention goes section by section. Item b = s * rows.size() + r is row
/// r in section s of the list.
struct Batch {
  std::span<Section* const> sections;
  std::span<const Row> rows;

  std::int64_t size() const { return static_cast<std::int64_t>(sections.size() * rows.size()); }
  Section& section(std::int64_t item) const {
    return *sections[static_cast<std::size_t>(item) / rows.size()];
  }
  const Row& row(std::int64_t item) const { return rows[static_cast<std::size_t>(item) % rows.size()]; }
  /// The part of one section of the list: its items are those from section * rows.size() on.
  Batch only(std::size_t section) const { return {sections.subspan(section, 1), rows}; }
};

}  // namespace stagformer::internal
