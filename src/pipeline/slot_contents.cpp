#include "pipeline/slot_contents.hpp"

#include <algorithm>

namespace stagformer::internal {

SlotContents::SlotContents(int slots, std::int64_t context, const MemoryReach& reach)
    : slots_(static_cast<std::size_t>(slots)), reach_(reach) {
  for (Slot& slot : slots_) slot.tokens.reserve(static_cast<std::size_t>(context));
}

KnownPrefix SlotContents::in_slot(int slot, std::span<const std::int32_t> prompt) const {
  const std::vector<std::int32_t>& tokens = of(slot).tokens;
  const std::span<const std::int32_t> begin = prompt.first(prompt.size() - 1);
  const std::int64_t positions = std::ranges::mismatch(tokens, begin).in1 - tokens.begin();
  if (positions < kLeast || !reach_.holds(positions, of(slot).written)) return {slot, 0};
  return {slot, positions};
}

KnownPrefix SlotContents::longest(std::span<const std::int32_t> prompt) const {
  KnownPrefix longest;
  for (int slot = 0; slot < static_cast<int>(slots_.size()); ++slot)
    if (const KnownPrefix found = in_slot(slot, prompt); found.positions > longest.positions) longest = found;
  return longest;
}

void SlotContents::cut(int slot, std::int64_t positions) {
  of(slot).tokens.resize(static_cast<std::size_t>(positions));
  if (positions == 0) of(slot).written = 0;
}

void SlotContents::copy(const KnownPrefix& from, int to) {
  const auto begin = of(from.slot).tokens.begin();
  of(to).tokens.assign(begin, begin + from.positions);
  of(to).written = of(from.slot).written;
}

void SlotContents::append(int slot, std::span<const std::int32_t> tokens) {
  of(slot).tokens.insert(of(slot).tokens.end(), tokens.begin(), tokens.end());
  wrote(slot, known(slot));
}

void SlotContents::wrote(int slot, std::int64_t end) {
  of(slot).written = std::max(of(slot).written, end);
}

}  // namespace stagformer::internal
