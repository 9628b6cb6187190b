// One section: the weights of a stack of layers and the caches of its sequences. docs/design.md has the
// formulas, forward.hpp runs them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/attention.hpp"
#include "model/kv_cache.hpp"
#include "model/weights.hpp"
#include "stagformer/config.hpp"

namespace stagformer::internal {

/// How much a section must hold.
struct SectionCapacity {
  int slots = 1;             ///< sequences at a time
  std::int64_t context = 0;  ///< positions a sequence
  std::int64_t rows = 1;     ///< most rows of one call
  int memory_banks = 1;  ///< 2 where recurrent decoding keeps the section's own outputs beside the upstream's
  CacheFormat format = CacheFormat::f32;
};

/// What the memory caches of a model still hold of a sequence's beginning.
struct MemoryReach {
  std::int64_t capacity = 0;  ///< positions that nothing is written over up to
  std::int64_t window = 0;    ///< positions that a row looks back

  /// Whether a row at `position` finds all that it looks at, where rows below `written` have been stored.
  bool holds(std::int64_t position, std::int64_t written) const {
    return written <= capacity || written - position <= capacity - window;
  }
};

class Section {
 public:
  /// `index` counts from 0. The weights must outlive the section.
  Section(const ModelConfig& config, int index, const SectionWeights& weights,
          const SectionCapacity& capacity);

  static MemoryReach reach(const ModelConfig& config, const SectionCapacity& capacity);

  /// Bytes that the caches of such a section take.
  static std::int64_t cache_bytes(const ModelConfig& config, int index, const SectionCapacity& capacity);

  int index() const { return index_; }
  bool has_memory() const { return has_memory_; }
  /// Window 1: no queries, no keys, the value at the one position is the result.
  bool single_position() const { return single_position_; }
  const SectionWeights& weights() const { return weights_; }
  std::size_t layers() const { return weights_.layers.size(); }

  KvCache& self_cache(std::size_t layer) { return self_caches_[layer]; }
  KvCache& memory_cache(std::size_t layer, int bank) {
    return memory_caches_[static_cast<std::size_t>(bank)][layer];
  }
  /// Slot `to` holds the first `positions` of slot `from`, of which rows below `written` have been stored.
  void copy_prefix(int from, int to, std::int64_t positions, std::int64_t written);
  /// Positions whose memory a row at `position` attends to; empty where begin >= end.
  PositionRange memory_range(std::int64_t position) const {
    const std::int64_t end = position + 1 - lag_;
    return {std::max<std::int64_t>(0, end - window_), end};
  }

 private:
  int index_;
  bool has_memory_;
  bool single_position_;
  int lag_;
  std::int64_t window_;  // positions; the context's length where there is none
  const SectionWeights& weights_;
  std::vector<KvCache> self_caches_;                 // [layer]
  std::vector<std::vector<KvCache>> memory_caches_;  // [bank][layer]; empty caches where a layer has no block
};

/// Whether the two can go through the layers in one batch: the same matrices of self-attention and
/// feed-forward in memory, and norms and biases of equal value.
bool same_weights(const SectionWeights& a, const SectionWeights& b);

}  // namespace stagformer::internal
