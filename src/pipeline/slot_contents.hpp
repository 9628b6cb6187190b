// Whose keys and values each slot's caches hold, by tokens: a prompt that begins as one of them begins need
// not be computed so far. All ranks of a replica keep the same book.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/section.hpp"

namespace stagformer::internal {

/// The first `positions` of a slot's caches.
struct KnownPrefix {
  int slot = -1;
  std::int64_t positions = 0;
};

class SlotContents {
 public:
  /// Shorter beginnings are not worth a copy.
  static constexpr std::int64_t kLeast = 8;

  SlotContents(int slots, std::int64_t context, const MemoryReach& reach);

  /// The longest beginning of a prompt that a slot holds, without the prompt's last token, whose row has to
  /// be computed for its read-out. No positions where there is none of kLeast.
  KnownPrefix longest(std::span<const std::int32_t> prompt) const;
  KnownPrefix in_slot(int slot, std::span<const std::int32_t> prompt) const;

  /// The slot goes on behind its first `positions`.
  void cut(int slot, std::int64_t positions);
  /// The slot holds as many positions of another one as well.
  void copy(const KnownPrefix& from, int to);
  /// The next tokens in order; does not allocate.
  void append(int slot, std::span<const std::int32_t> tokens);
  /// Rows below this position have been written, whatever became of them.
  void wrote(int slot, std::int64_t end);
  /// Of no use to anyone: values that are not finite.
  void forget(int slot) { of(slot).tokens.clear(); }
  std::int64_t known(int slot) const { return static_cast<std::int64_t>(of(slot).tokens.size()); }
  std::int64_t written(int slot) const { return of(slot).written; }

 private:
  struct Slot {
    std::vector<std::int32_t> tokens;  // of positions from 0
    std::int64_t written = 0;
  };
  Slot& of(int slot) { return slots_[static_cast<std::size_t>(slot)]; }
  const Slot& of(int slot) const { return slots_[static_cast<std::size_t>(slot)]; }

  std::vector<Slot> slots_;
  MemoryReach reach_;
};

}  // namespace stagformer::internal
