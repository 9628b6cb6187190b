// One query and its range: the right positions with the right weights, and nothing of the others.
#include <gtest/gtest.h>

#include "attention_data.hpp"

namespace stagformer::internal {
namespace {

std::vector<float> query_for(const TestHead& head, float spread = 1) {
  return random_values(head.head_dim, 1, spread);
}

struct Case {
  std::int64_t head_dim, positions;
  PositionRange range;
};
const Case kCases[] = {
    {64, 200, {0, 200}},  {64, 64, {0, 1}},       {64, 100, {0, 15}},      {64, 100, {0, 16}},
    {64, 100, {0, 17}},   {64, 100, {0, 63}},     {64, 100, {0, 64}},      {64, 100, {0, 65}},
    {64, 300, {0, 255}},  {64, 300, {0, 256}},    {64, 300, {0, 257}},     {64, 1000, {255, 513}},
    {64, 256, {17, 180}}, {64, 128, {500, 570}},  {64, 64, {123, 133}},    {128, 128, {60, 140}},
    {32, 300, {1, 300}},  {80, 64, {100, 137}},   {16, 512, {256, 700}},   {6, 64, {15, 30}},
    {4, 64, {40, 104}},   {10, 192, {100, 292}},  {2, 64, {0, 9}},         {70, 192, {64, 129}},
    {64, 64, {77, 78}},   {64, 640, {950, 1590}}, {128, 512, {511, 1023}}, {96, 128, {63, 65}},
};

TEST(Attend, AgreesWithDouble) {
  for (int level = 0; level <= best_instruction_set(); ++level) {
    const InstructionSetGuard guard(level);
    for (const auto& [dim, positions, range] : kCases)
      for (const float spread : {0.1f, 1.0f, 20.0f}) {
        const TestHead head(dim, positions);
        const std::vector<float> query = query_for(head, spread);
        EXPECT_LE(largest_difference(attended(head, query, range), attended_in_double(head, query, range)),
                  attention_tolerance(spread))
            << dim << ' ' << positions << ' ' << range.begin << ' ' << range.end << ' ' << spread;
      }
  }
}

// Twins: a key changed a little, a position too few or too many at either end, a ring of another size.
TEST(Attend, ComparisonSeesSmallMistakes) {
  for (const PositionRange range : {PositionRange{500, 570}, PositionRange{640, 701}}) {
    const TestHead head(64, 128);
    const std::vector<float> query = query_for(head);
    const std::vector<double> reference = attended_in_double(head, query, range);
    const auto differs = [&](const TestHead& twin, PositionRange positions) {
      return largest_difference(attended(twin, query, positions), reference) > attention_tolerance(1);
    };
    EXPECT_FALSE(differs(head, range));
    TestHead changed = head;
    changed.key(range.begin + 33, 5) += 0.1f;
    EXPECT_TRUE(differs(changed, range));
    for (const std::int64_t step : {-1, 1}) {
      EXPECT_TRUE(differs(head, {range.begin + step, range.end}));
      EXPECT_TRUE(differs(head, {range.begin, range.end + step}));
      EXPECT_TRUE(differs(head, {range.begin + step, range.end + step}));
    }
    TestHead larger_ring = head;
    larger_ring.capacity += 64;
    larger_ring.keys.insert(larger_ring.keys.end(), head.values.begin(), head.values.begin() + 64 * 64);
    larger_ring.values.insert(larger_ring.values.end(), head.keys.begin(), head.keys.begin() + 64 * 64);
    EXPECT_TRUE(differs(larger_ring, range));
  }
}

TEST(Attend, OnePositionGivesItsValueRow) {
  for (const std::int64_t dim : {2, 6, 16, 64, 80, 128})
    for (const float spread : {0.0f, 1.0f, 1e4f, 1e18f})
      for (const std::int64_t position : {0, 15, 16, 63, 64, 300}) {
        TestHead head(dim, 64);
        const std::vector<float> out = attended(head, query_for(head, spread), {position, position + 1});
        for (std::int64_t d = 0; d < dim; ++d)
          EXPECT_EQ(out[static_cast<std::size_t>(d)], head.value(position, d)) << position;
      }
}

TEST(Attend, NothingGivesZeros) {
  const TestHead head(70, 64);
  for (const PositionRange range : {PositionRange{0, 0}, PositionRange{64, 64}, PositionRange{9, 7}})
    EXPECT_TRUE(same_bits(attended(head, query_for(head), range), std::vector<float>(70, 0.0f)));
}

// The winner takes all, whichever piece and chunk it stands in; no overflow on the way.
TEST(Attend, HugeScoresPickTheLargest) {
  for (const std::int64_t winner : {0, 63, 64, 100, 199, 256, 599}) {
    TestHead head(64, 600);
    const std::vector<float> query = query_for(head, 1e15f);
    for (std::int64_t d = 0; d < 64; ++d)
      head.key(winner, d) = query[static_cast<std::size_t>(d)] > 0 ? 1000.0f : -1000.0f;
    const std::vector<float> out = attended(head, query, {0, 600});
    for (std::int64_t d = 0; d < 64; ++d)
      EXPECT_EQ(out[static_cast<std::size_t>(d)], head.value(winner, d)) << winner;
  }
}

TEST(Attend, WhatStandsOutsideOfTheRangeIsNotTouched) {
  for (const PositionRange range : {PositionRange{70, 150}, PositionRange{0, 1}, PositionRange{63, 64},
                                    PositionRange{64, 256}, PositionRange{300, 450}, PositionRange{17, 33}})
    for (const CacheFormat format : {CacheFormat::f32, CacheFormat::bf16}) {
      TestHead head(64, 256);
      const std::vector<float> query = query_for(head), clean = attended(head, query, range, format);
      for (const float stale : {kNan, std::numeric_limits<float>::infinity(), -3e38f}) {
        for (std::int64_t j = range.end; j < range.begin + 256; ++j) head.set_position(j, stale);
        EXPECT_TRUE(same_bits(clean, attended(head, query, range, format)))
            << range.begin << ' ' << range.end << ' ' << stale;
      }
    }
}

// Where the cache wraps is storage, not arithmetic.
TEST(Attend, CapacityDoesNotChangeBits) {
  const PositionRange range{230, 350};
  TestHead large(64, 448);
  const std::vector<float> query = query_for(large), expected = attended(large, query, range);
  for (const std::int64_t capacity : {128, 192, 256}) {
    TestHead small(64, capacity);
    for (std::int64_t j = range.begin; j < range.end; ++j)
      for (std::int64_t d = 0; d < 64; ++d) {
        small.key(j, d) = large.key(j, d);
        small.value(j, d) = large.value(j, d);
      }
    EXPECT_TRUE(same_bits(expected, attended(small, query, range))) << capacity;
  }
}

TEST(Attend, NanInTheRangeStaysVisible) {
  const auto spoilt = [](std::int64_t first, std::int64_t last, bool in_key) {
    TestHead head(64, 512);
    for (std::int64_t j = first; j < last; ++j) (in_key ? head.key(j, 63) : head.value(j, 63)) = kNan;
    return attended(head, query_for(head), {0, 512});
  };
  for (const auto& [first, last] : {std::pair{130, 131}, std::pair{0, 256}, std::pair{256, 512}}) {
    const std::vector<float> by_key = spoilt(first, last, true), by_value = spoilt(first, last, false);
    for (const float number : by_key) EXPECT_TRUE(std::isnan(number)) << first;
    EXPECT_TRUE(std::isnan(by_value[63])) << first;
    EXPECT_TRUE(all_finite(by_value.data(), 63)) << first;
  }
}

// The same positions in one chunk and torn over two: other bits, the same result.
TEST(Attend, ChunksMergeToWhatOneChunkGives) {
  TestHead whole(64, 512), torn(64, 512);
  for (std::int64_t j = 0; j < 200; ++j)
    for (std::int64_t d = 0; d < 64; ++d) {
      torn.key(j + 156, d) = whole.key(j, d);
      torn.value(j + 156, d) = whole.value(j, d);
    }
  const std::vector<float> query = query_for(whole), expected = attended(whole, query, {0, 200});
  EXPECT_LE(largest_difference(attended(torn, query, {156, 356}), expected), attention_tolerance(1));
  EXPECT_GT(largest_difference(attended(torn, query, {156, 355}), expected), attention_tolerance(1));
}

TEST(Attend, Avx2AndAvx512GiveTheSameBits) {
  if (best_instruction_set() < 2) GTEST_SKIP() << "one vector width only";
  for (const CacheFormat format : {CacheFormat::f32, CacheFormat::bf16})
    for (const auto& [dim, positions, range] : kCases)
      for (const float spread : {1.0f, 20.0f}) {
        const TestHead head(dim, positions);
        const std::vector<float> query = query_for(head, spread);
        const std::vector<float> wide = attended(head, query, range, format);
        const InstructionSetGuard guard(1);
        EXPECT_TRUE(same_bits(wide, attended(head, query, range, format)))
            << dim << ' ' << range.begin << ' ' << range.end;
      }
}

// The narrow cache changes the numbers it keeps, not the arithmetic.
TEST(Attend, Bf16CacheEqualsRoundedF32Cache) {
  for (int level = 0; level <= best_instruction_set(); ++level) {
    const InstructionSetGuard guard(level);
    for (const auto& [dim, positions, range] : kCases) {
      const TestHead head(dim, positions);
      TestHead rounded = head;
      rounded.round_to_bf16();
      const std::vector<float> query = query_for(head);
      const std::vector<float> narrow = attended(head, query, range, CacheFormat::bf16);
      EXPECT_TRUE(same_bits(narrow, attended(rounded, query, range))) << dim << ' ' << range.begin;
      EXPECT_FALSE(same_bits(narrow, attended(head, query, range))) << dim << ' ' << range.begin;
    }
  }
}

// Bound of cache_layout.hpp: values off by 2^-9 of themselves, weights by twice the scores' error.
TEST(Attend, Bf16CacheIsAsExactAsDocumented) {
  const TestHead head(64, 1024);
  const std::vector<float> query = query_for(head);
  const std::vector<float> narrow = attended(head, query, {0, 1024}, CacheFormat::bf16);
  double score_error = 0, largest_value = 0;
  for (std::int64_t j = 0; j < 1024; ++j) {
    double size = 0;
    for (std::int64_t d = 0; d < 64; ++d) {
      size += std::fabs(static_cast<double>(query[static_cast<std::size_t>(d)]) *
                        static_cast<double>(head.keys[head.index(j, d)]));
      largest_value = std::max(largest_value, std::fabs(static_cast<double>(head.values[head.index(j, d)])));
    }
    score_error = std::max(score_error, 0x1p-9 * static_cast<double>(head.scale()) * size);
  }
  const double error = largest_difference(narrow, attended_in_double(head, query, {0, 1024}));
  EXPECT_LE(error, (0x1p-9 + 2 * score_error) * largest_value);
  EXPECT_GT(error, 0x1p-20);
}

}  // namespace
}  // namespace stagformer::internal
