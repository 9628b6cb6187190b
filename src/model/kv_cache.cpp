#include "model/kv_cache.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "kernels/number_bits.hpp"

namespace stagformer::internal {
namespace {

template <typename Number>
Number* numbers(std::byte* bytes) {
  return reinterpret_cast<Number*>(bytes);
}

}  // namespace

KvCache::KvCache(int slots, std::int64_t heads, std::int64_t positions, std::int64_t head_dim, bool with_keys,
                 CacheFormat format)
    : heads_(heads),
      capacity_(cache_capacity(positions)),
      head_dim_(head_dim),
      format_(format),
      key_bytes_(with_keys ? key_bytes(format, capacity_, head_dim) : 0),
      value_bytes_(value_bytes(format, capacity_, head_dim)),
      keys_(static_cast<std::size_t>(slots * heads * key_bytes_), false),
      values_(static_cast<std::size_t>(slots * heads * value_bytes_), false) {
  STAG_CHECK(head_dim % 2 == 0, head_dim);
}

std::int64_t KvCache::bytes(int slots, std::int64_t heads, std::int64_t positions, std::int64_t head_dim,
                            bool with_keys, CacheFormat format) {
  const std::int64_t capacity = cache_capacity(positions);
  return slots * heads *
         (value_bytes(format, capacity, head_dim) + (with_keys ? key_bytes(format, capacity, head_dim) : 0));
}

void KvCache::store_key(int slot, std::int64_t head, std::int64_t position, const float* key) {
  const std::int64_t row = position % capacity_;
  std::byte* keys = keys_.data() + (slot * heads_ + head) * key_bytes_;
  if (format_ == CacheFormat::f32) {
    for (std::int64_t d = 0; d < head_dim_; ++d)
      numbers<float>(keys)[key_index(format_, head_dim_, row, d)] = key[d];
  } else {
    for (std::int64_t d = 0; d < head_dim_; ++d)
      numbers<std::uint16_t>(keys)[key_index(format_, head_dim_, row, d)] = bf16_from_float(key[d]);
  }
}

std::byte* KvCache::value_row(int slot, std::int64_t head, std::int64_t position) {
  return values_.data() + (slot * heads_ + head) * value_bytes_ +
         value_bytes(format_, position % capacity_, head_dim_);
}

void KvCache::store_value(int slot, std::int64_t head, std::int64_t position, const float* value) {
  std::byte* row = value_row(slot, head, position);
  if (format_ == CacheFormat::f32)
    std::copy_n(value, head_dim_, numbers<float>(row));
  else
    std::transform(value, value + head_dim_, numbers<std::uint16_t>(row), bf16_from_float);
}

void KvCache::copy_prefix(int from, int to, std::int64_t positions, std::int64_t written) {
  const std::int64_t rows = written > capacity_ ? capacity_ : cache_capacity(positions);
  const std::int64_t keys = key_bytes_ > 0 ? key_bytes(format_, rows, head_dim_) : 0,
                     values = value_bytes(format_, rows, head_dim_);
  for (std::int64_t head = 0; head < heads_; ++head) {
    const std::int64_t source = from * heads_ + head, target = to * heads_ + head;
    if (keys > 0) std::copy_n(keys_.data() + source * key_bytes_, keys, keys_.data() + target * key_bytes_);
    std::copy_n(values_.data() + source * value_bytes_, values, values_.data() + target * value_bytes_);
  }
}

void KvCache::load_value(int slot, std::int64_t head, std::int64_t position, float* out) const {
  const std::byte* row = values_.data() + (slot * heads_ + head) * value_bytes_ +
                         value_bytes(format_, position % capacity_, head_dim_);
  if (format_ == CacheFormat::f32) {
    std::copy_n(reinterpret_cast<const float*>(row), head_dim_, out);
  } else {
    const auto* bits = reinterpret_cast<const std::uint16_t*>(row);
    std::transform(bits, bits + head_dim_, out, float_from_bf16);
  }
}

}  // namespace stagformer::internal
