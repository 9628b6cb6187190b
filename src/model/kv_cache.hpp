// Keys and values of one attention block for all sequences of a batch. A cache smaller than the context wraps
// round.
#pragma once

#include <cstdint>

#include "base/aligned_buffer.hpp"
#include "base/check.hpp"
#include "kernels/kernels.hpp"

namespace stagformer::internal {

class KvCache {
 public:
  KvCache() = default;
  /// slots: sequences; heads: G; capacity: positions kept a sequence. Without keys only values are kept
  /// (window 1).
  KvCache(int slots, std::int64_t heads, std::int64_t capacity, std::int64_t head_dim, bool with_keys)
      : heads_(heads),
        capacity_(capacity),
        head_dim_(head_dim),
        keys_(with_keys ? static_cast<std::size_t>(slots * heads * capacity * head_dim) : 0),
        values_(static_cast<std::size_t>(slots * heads * capacity * head_dim)) {}

  /// Bytes that a cache of this shape takes.
  static std::int64_t bytes(int slots, std::int64_t heads, std::int64_t capacity, std::int64_t head_dim,
                            bool with_keys) {
    return (with_keys ? 2 : 1) * slots * heads * capacity * head_dim *
           static_cast<std::int64_t>(sizeof(float));
  }

  /// [head_dim] of one head at one position (from 0).
  float* key(int slot, std::int64_t head, std::int64_t position) {
    return keys_.data() + at(slot, head, position);
  }
  float* value(int slot, std::int64_t head, std::int64_t position) {
    return values_.data() + at(slot, head, position);
  }

  /// Positions [begin, end) of one head; all of them must still be in the cache.
  CacheSpan span(int slot, std::int64_t head, std::int64_t begin, std::int64_t end) const {
    STAG_DCHECK(begin < end && end - begin <= capacity_, begin, end, capacity_);
    const std::int64_t first = (slot * heads_ + head) * capacity_ * head_dim_;
    return {keys_.data() + first, values_.data() + first, capacity_, begin, end};
  }

 private:
  std::int64_t at(int slot, std::int64_t head, std::int64_t position) const {
    return ((slot * heads_ + head) * capacity_ + position % capacity_) * head_dim_;
  }

  std::int64_t heads_ = 0, capacity_ = 0, head_dim_ = 0;
  AlignedBuffer<float> keys_, values_;  // [slot][head][capacity][head_dim]
};

}  // namespace stagformer::internal
