// A cache of one head filled with known numbers, and attention to it in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernel_compare.hpp"
#include "kernels/attention.hpp"
#include "kernels/number_bits.hpp"

namespace stagformer::internal {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// Keys and values [rows][head_dim] as a plain table, and the same in the layout of the cache.
struct TestHead {
  std::int64_t head_dim, capacity;
  std::vector<float> keys, values;

  TestHead(std::int64_t dim, std::int64_t positions, unsigned seed = 2)
      : head_dim(dim),
        capacity(cache_capacity(positions)),
        keys(random_values(dim * capacity, seed)),
        values(random_values(dim * capacity, seed + 1)) {}

  float scale() const { return 1 / std::sqrt(static_cast<float>(head_dim)); }
  float& key(std::int64_t position, std::int64_t d) { return keys[index(position, d)]; }
  float& value(std::int64_t position, std::int64_t d) { return values[index(position, d)]; }
  std::size_t index(std::int64_t position, std::int64_t d) const {
    return static_cast<std::size_t>(position % capacity * head_dim + d);
  }

  void set_position(std::int64_t position, float number) {
    for (std::int64_t d = 0; d < head_dim; ++d) key(position, d) = value(position, d) = number;
  }
  void round_to_bf16() {
    for (std::vector<float>* table : {&keys, &values})
      for (float& number : *table) number = float_from_bf16(bf16_from_float(number));
  }
};

/// The head's numbers where the kernels expect them; NaN wherever nothing belongs.
struct PackedHead {
  AlignedBuffer<std::byte> keys, values;
  CacheSpan span;

  explicit PackedHead(const TestHead& head, CacheFormat format = CacheFormat::f32)
      : keys(static_cast<std::size_t>(key_bytes(format, head.capacity, head.head_dim))),
        values(static_cast<std::size_t>(value_bytes(format, head.capacity, head.head_dim))),
        span{keys.data(), values.data(), head.capacity, format} {
    const std::int64_t stride = value_stride(head.head_dim);
    for (std::int64_t i = 0; i < head.capacity * stride; ++i) put(values, i, kNan);
    for (std::int64_t row = 0; row < head.capacity; ++row)
      for (std::int64_t d = 0; d < head.head_dim; ++d) {
        put(keys, key_index(format, head.head_dim, row, d), head.keys[head.index(row, d)]);
        put(values, row * stride + d, head.values[head.index(row, d)]);
      }
  }

 private:
  void put(AlignedBuffer<std::byte>& to, std::int64_t i, float number) const {
    if (span.format == CacheFormat::f32)
      reinterpret_cast<float*>(to.data())[i] = number;
    else
      reinterpret_cast<std::uint16_t*>(to.data())[i] = bf16_from_float(number);
  }
};

inline std::vector<float> attended(const TestHead& head, const std::vector<float>& query, PositionRange range,
                                   CacheFormat format = CacheFormat::f32) {
  std::vector<float> out(static_cast<std::size_t>(head.head_dim), kNan);
  attend(PackedHead(head, format).span, head.head_dim, head.scale(), query.data(), range, out.data());
  return out;
}

/// Softmax over all positions in double.
inline std::vector<double> attended_in_double(const TestHead& head, const std::vector<float>& query,
                                              PositionRange range) {
  std::vector<double> score, out(static_cast<std::size_t>(head.head_dim), 0.0);
  for (std::int64_t j = range.begin; j < range.end; ++j) {
    double dot = 0;
    for (std::int64_t d = 0; d < head.head_dim; ++d)
      dot += static_cast<double>(query[static_cast<std::size_t>(d)]) *
             static_cast<double>(head.keys[head.index(j, d)]);
    score.push_back(dot * static_cast<double>(head.scale()));
  }
  if (score.empty()) return out;
  const double most = *std::max_element(score.begin(), score.end());
  double total = 0;
  for (std::int64_t j = range.begin; j < range.end; ++j) {
    const double weight = std::exp(score[static_cast<std::size_t>(j - range.begin)] - most);
    total += weight;
    for (std::int64_t d = 0; d < head.head_dim; ++d)
      out[static_cast<std::size_t>(d)] += weight * static_cast<double>(head.values[head.index(j, d)]);
  }
  for (double& value : out) value /= total;
  return out;
}

template <typename Reference>
double largest_difference(const std::vector<float>& a, const std::vector<Reference>& b) {
  double largest = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const double difference = std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(difference <= largest)) largest = difference;  // NaN counts
  }
  return largest;
}

/// Values are about 1 and scores about `spread`; a score is off by a few epsilon of its terms' size.
inline double attention_tolerance(float spread) {
  return 60 * kEpsilon * std::max(1.0, 4.0 * static_cast<double>(spread));
}

}  // namespace stagformer::internal
