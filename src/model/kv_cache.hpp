// Keys and values of one attention block for all sequences of a batch. A cache smaller than the context wraps
// round. kernels/cache_layout.hpp has the places of single numbers.
#pragma once

#include <cstdint>

#include "base/aligned_buffer.hpp"
#include "base/check.hpp"
#include "kernels/kernels.hpp"

namespace stagformer::internal {

class KvCache {
 public:
  KvCache() = default;
  /// slots: sequences; heads: G; positions: how many are kept a sequence, rounded up to whole blocks. Without
  /// keys only values are kept (window 1). The memory is not touched: pages come with the first store.
  KvCache(int slots, std::int64_t heads, std::int64_t positions, std::int64_t head_dim, bool with_keys,
          CacheFormat format = CacheFormat::f32);

  /// Bytes that a cache of this shape takes.
  static std::int64_t bytes(int slots, std::int64_t heads, std::int64_t positions, std::int64_t head_dim,
                            bool with_keys, CacheFormat format = CacheFormat::f32);

  /// [head_dim] of one head at one position (from 0). Different positions may be stored at the same time.
  void store_key(int slot, std::int64_t head, std::int64_t position, const float* key);
  void store_value(int slot, std::int64_t head, std::int64_t position, const float* value);
  /// The value as kept, in f32.
  void load_value(int slot, std::int64_t head, std::int64_t position, float* out) const;

  /// Slot `to` holds the first `positions` of slot `from`; or all that is left of it, where rows below
  /// `written` have been stored and that is more than there are places.
  void copy_prefix(int from, int to, std::int64_t positions, std::int64_t written);

  /// What attention to one (slot, head) reads.
  CacheSpan span(int slot, std::int64_t head) const {
    const std::int64_t at = slot * heads_ + head;
    return {keys_.data() ? keys_.data() + at * key_bytes_ : nullptr, values_.data() + at * value_bytes_,
            capacity_, format_};
  }

 private:
  std::byte* value_row(int slot, std::int64_t head, std::int64_t position);

  std::int64_t heads_ = 0, capacity_ = 0, head_dim_ = 0;
  CacheFormat format_ = CacheFormat::f32;
  std::int64_t key_bytes_ = 0, value_bytes_ = 0;  // of one (slot, head)
  AlignedBuffer<std::byte> keys_, values_;        // [slot][head]
};

}  // namespace stagformer::internal
