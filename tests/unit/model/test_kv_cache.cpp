// Storing and reading back, round the ring, and that nothing lands at somebody else's place.
#include "model/kv_cache.hpp"

#include <gtest/gtest.h>

#include <tuple>
#include <vector>

#include "kernels/attention.hpp"
#include "kernels/number_bits.hpp"

namespace stagformer::internal {
namespace {

/// A number that names its place; its bf16 neighbours are further apart than 1, so rounding shows.
float name_of(int slot, std::int64_t head, std::int64_t position, std::int64_t d, bool key) {
  return static_cast<float>(1 + d + 16 * (position + 512 * (head + 4 * (slot + 4 * (key ? 1 : 0)))));
}

float kept(float number, CacheFormat format) {
  return format == CacheFormat::f32 ? number : float_from_bf16(bf16_from_float(number));
}

float key_at(const CacheSpan& span, std::int64_t head_dim, std::int64_t position, std::int64_t d) {
  const std::int64_t i = key_index(span.format, head_dim, position % span.capacity, d);
  if (span.format == CacheFormat::f32) return reinterpret_cast<const float*>(span.keys)[i];
  return float_from_bf16(reinterpret_cast<const std::uint16_t*>(span.keys)[i]);
}

constexpr int kSlots = 3;
constexpr std::int64_t kHeads = 2;

void fill(KvCache& cache, std::int64_t head_dim, std::int64_t positions, bool with_keys) {
  std::vector<float> key(static_cast<std::size_t>(head_dim)), value = key;
  for (std::int64_t position = 0; position < positions; ++position)
    for (int slot = 0; slot < kSlots; ++slot)
      for (std::int64_t head = 0; head < kHeads; ++head) {
        for (std::int64_t d = 0; d < head_dim; ++d) {
          key[static_cast<std::size_t>(d)] = name_of(slot, head, position, d, true);
          value[static_cast<std::size_t>(d)] = name_of(slot, head, position, d, false);
        }
        if (with_keys) cache.store_key(slot, head, position, key.data());
        cache.store_value(slot, head, position, value.data());
      }
}

void expect_kept(const KvCache& cache, CacheFormat format, std::int64_t head_dim, std::int64_t begin,
                 std::int64_t end, bool with_keys) {
  std::vector<float> value(static_cast<std::size_t>(head_dim));
  int wrong = 0;
  for (int slot = 0; slot < kSlots; ++slot)
    for (std::int64_t head = 0; head < kHeads; ++head)
      for (std::int64_t position = begin; position < end; ++position) {
        cache.load_value(slot, head, position, value.data());
        for (std::int64_t d = 0; d < head_dim; ++d) {
          wrong +=
              value[static_cast<std::size_t>(d)] != kept(name_of(slot, head, position, d, false), format);
          if (with_keys)
            wrong += key_at(cache.span(slot, head), head_dim, position, d) !=
                     kept(name_of(slot, head, position, d, true), format);
        }
      }
  EXPECT_EQ(wrong, 0) << head_dim << ' ' << begin << ' ' << end;
}

TEST(KvCache, KeepsTheLastPositionsOfEverySlotAndHead) {
  for (const CacheFormat format : {CacheFormat::f32, CacheFormat::bf16})
    for (const bool with_keys : {true, false})
      for (const auto& [head_dim, positions, stored] :
           {std::tuple{4, 1, 1}, {6, 64, 64}, {10, 65, 65}, {16, 100, 300}, {10, 128, 257}}) {
        KvCache cache(kSlots, kHeads, positions, head_dim, with_keys, format);
        fill(cache, head_dim, stored, with_keys);
        expect_kept(cache, format, head_dim, std::max(0, stored - positions), stored, with_keys);
        EXPECT_EQ(cache.span(0, 0).keys == nullptr, !with_keys);
      }
}

TEST(KvCache, CapacityIsWholeBlocks) {
  for (const auto& [positions, capacity] : {std::pair{1, 64}, {63, 64}, {64, 64}, {65, 128}, {4096, 4096}})
    EXPECT_EQ(KvCache(1, 1, positions, 8, true).span(0, 0).capacity, capacity);
}

TEST(KvCache, BytesAreWhatTheLayoutTakes) {
  EXPECT_EQ(KvCache::bytes(2, 3, 100, 64, true), 2 * 3 * 128 * 64 * 4 * 2);
  EXPECT_EQ(KvCache::bytes(2, 3, 100, 64, true, CacheFormat::bf16), 2 * 3 * 128 * 64 * 2 * 2);
  EXPECT_EQ(KvCache::bytes(2, 3, 100, 64, false, CacheFormat::bf16), 2 * 3 * 128 * 64 * 2);
  EXPECT_EQ(KvCache::bytes(1, 1, 64, 10, true), 64 * (10 + 16) * 4);  // value rows are whole vectors
  const KvCache cache(1, 2, 64, 10, true);
  EXPECT_EQ(cache.span(0, 1).keys - cache.span(0, 0).keys, 64 * 10 * 4);
  EXPECT_EQ(cache.span(0, 1).values - cache.span(0, 0).values, 64 * 16 * 4);
}

/// All keys alike: attention is the mean of the values in range, wherever the ring wraps.
TEST(KvCache, AttentionReadsWhatWasStored) {
  for (const CacheFormat format : {CacheFormat::f32, CacheFormat::bf16}) {
    KvCache cache(2, 2, 128, 6, true, format);
    const std::vector<float> key(6, 1.0f), query(6, 0.5f);
    for (std::int64_t position = 0; position < 300; ++position)
      for (int slot = 0; slot < 2; ++slot) {
        const std::vector<float> value(6, static_cast<float>(position % 128 + slot));
        cache.store_key(slot, 1, position, key.data());
        cache.store_value(slot, 1, position, value.data());
      }
    std::vector<float> out(6);
    for (const auto& [begin, end] : {std::pair{172, 300}, {250, 260}, {190, 194}, {299, 300}}) {
      double mean = 0;
      for (int position = begin; position < end; ++position) mean += (position % 128 + 1.0) / (end - begin);
      attend(cache.span(1, 1), 6, 1, query.data(), {begin, end}, out.data());
      for (const float number : out) EXPECT_NEAR(number, mean, 1e-4) << begin << ' ' << end;
    }
  }
}

}  // namespace
}  // namespace stagformer::internal
