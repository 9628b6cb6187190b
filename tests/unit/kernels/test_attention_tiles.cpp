// Many queries in one call: each gets the bits that it gets alone.
#include <gtest/gtest.h>

#include <numeric>

#include "attention_data.hpp"

namespace stagformer::internal {
namespace {

/// Queries of one call with their ranges.
struct Crowd {
  std::vector<std::vector<float>> queries;
  std::vector<PositionRange> ranges;

  void add(std::int64_t head_dim, PositionRange range) {
    queries.push_back(random_values(head_dim, static_cast<unsigned>(100 + queries.size())));
    ranges.push_back(range);
  }
};

/// Rows of a prompt from `first` on with a group of heads each; a row looks at `window` positions, its own
/// the last.
Crowd causal_rows(std::int64_t head_dim, int rows, int group, std::int64_t first, std::int64_t window) {
  Crowd crowd;
  for (int row = 0; row < rows; ++row)
    for (int head = 0; head < group; ++head) {
      const std::int64_t end = first + row + 1;
      crowd.add(head_dim, {std::max<std::int64_t>(0, end - window), end});
    }
  return crowd;
}

Crowd scattered(std::int64_t head_dim, std::int64_t capacity) {
  Crowd crowd;
  for (const std::int64_t begin : {0, 1, 63, 64, 65, 200, 255, 256, 257, 300})
    for (const std::int64_t length : {0, 1, 15, 16, 17, 64, 65, 300, 512})
      crowd.add(head_dim, {begin, std::min(begin + length, capacity)});
  return crowd;
}

/// All queries of a crowd in one call a chunk, in the order given.
std::vector<std::vector<float>> attended_together(const TestHead& head, const Crowd& crowd,
                                                  CacheFormat format, const std::vector<std::size_t>& order) {
  const PackedHead packed(head, format);
  const std::int64_t stride = attention_partial_floats(head.head_dim);
  std::int64_t chunks = 0;
  for (const PositionRange& range : crowd.ranges) chunks = std::max(chunks, chunks_of(range).last);
  std::vector<float> partials(crowd.queries.size() * static_cast<std::size_t>(chunks * stride), kNan);
  const auto partial = [&](std::size_t query, std::int64_t chunk) {
    return partials.data() + (static_cast<std::int64_t>(query) * chunks + chunk) * stride;
  };
  for (std::int64_t c = 0; c < chunks; ++c) {
    std::vector<const float*> queries;
    std::vector<PositionRange> ranges;
    std::vector<float*> results;
    for (const std::size_t i : order) {
      queries.push_back(crowd.queries[i].data());
      ranges.push_back(crowd.ranges[i]);
      results.push_back(partial(i, c));
    }
    attend_chunk(packed.span, head.head_dim, head.scale(), c, queries.data(), ranges.data(),
                 static_cast<std::int64_t>(order.size()), results.data());
  }
  std::vector<std::vector<float>> out;
  for (std::size_t i = 0; i < crowd.queries.size(); ++i) {
    out.emplace_back(static_cast<std::size_t>(head.head_dim), kNan);
    merge_chunks(partial(i, 0), stride, chunks, head.head_dim, out.back().data());
  }
  return out;
}

void expect_same_as_alone(const TestHead& head, const Crowd& crowd, CacheFormat format) {
  std::vector<std::size_t> order(crowd.queries.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto together = attended_together(head, crowd, format, order);
  std::shuffle(order.begin(), order.end(), std::mt19937(7));
  const auto shuffled = attended_together(head, crowd, format, order);
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::vector<float> alone = attended(head, crowd.queries[i], crowd.ranges[i], format);
    EXPECT_TRUE(same_bits(alone, together[i]))
        << i << ": " << crowd.ranges[i].begin << ' ' << crowd.ranges[i].end;
    EXPECT_TRUE(same_bits(alone, shuffled[i]))
        << i << ": " << crowd.ranges[i].begin << ' ' << crowd.ranges[i].end;
  }
}

void expect_same_for_all_crowds(const TestHead& head) {
  for (int level = 0; level <= best_instruction_set(); ++level) {
    const InstructionSetGuard guard(level);
    for (const CacheFormat format : {CacheFormat::f32, CacheFormat::bf16}) {
      expect_same_as_alone(head, causal_rows(head.head_dim, 40, 3, 40, 1000), format);
      expect_same_as_alone(head, causal_rows(head.head_dim, 23, 1, 250, 20), format);
      expect_same_as_alone(head, scattered(head.head_dim, head.capacity), format);
    }
  }
}

TEST(AttendTile, OthersDoNotChangeBits) {
  for (const std::int64_t dim : {6, 64, 80, 128}) expect_same_for_all_crowds(TestHead(dim, 640));
}

TEST(AttendTile, EverySmallNumberOfQueries) {
  const TestHead head(64, 320);
  for (int rows = 1; rows <= 14; ++rows)
    expect_same_as_alone(head, causal_rows(64, rows, 1, 250, 100), CacheFormat::f32);
}

// What one row may look at and its neighbour may not: NaN there is the neighbour's affair.
TEST(AttendTile, NanBeyondOwnRangeDoesNotLeakIn) {
  TestHead head(64, 640);
  for (const std::int64_t j : {50, 64, 70, 256, 300}) head.set_position(j, kNan);
  const Crowd crowd = causal_rows(64, 40, 3, 40, 9);
  std::vector<std::size_t> order(crowd.queries.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto together = attended_together(head, crowd, CacheFormat::f32, order);
  for (std::size_t i = 0; i < order.size(); ++i) {
    bool meets_nan = false;
    for (const std::int64_t j : {50, 64, 70})
      meets_nan = meets_nan || (crowd.ranges[i].begin <= j && j < crowd.ranges[i].end);
    EXPECT_EQ(all_finite(together[i].data(), 64), !meets_nan) << crowd.ranges[i].end;
  }
}

// Sums that underflow to -0 would become +0 if a masked position added 0 * value.
TEST(AttendTile, NegativeZeroSurvives) {
  TestHead head(64, 640);
  for (float& value : head.values) value = value < 0 ? -1e-45f : 1e-45f;
  expect_same_for_all_crowds(head);
}

TEST(AttendTile, TwinsWithOtherRangesDiffer) {
  const TestHead head(64, 640);
  const Crowd crowd = causal_rows(64, 12, 3, 250, 80);
  Crowd early = crowd, late = crowd;
  for (PositionRange& range : early.ranges) ++range.begin;
  for (PositionRange& range : late.ranges) ++range.end;
  std::vector<std::size_t> order(crowd.queries.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto expected = attended_together(head, crowd, CacheFormat::f32, order);
  for (const Crowd* twin : {&early, &late}) {
    const auto other = attended_together(head, *twin, CacheFormat::f32, order);
    for (std::size_t i = 0; i < order.size(); ++i)
      EXPECT_GT(largest_difference(other[i], expected[i]), attention_tolerance(1));
  }
}

// Chunks that a query does not reach may be merged or left out.
TEST(MergeChunks, EmptyPartialsAddNothing) {
  const TestHead head(80, 1024);
  const PackedHead packed(head);
  const std::vector<float> query = random_values(80, 1);
  const PositionRange range{300, 700};
  const std::int64_t stride = attention_partial_floats(80) + 3;
  std::vector<float> partials(static_cast<std::size_t>(4 * stride), kNan), all(80), some(80);
  const float* queries[] = {query.data()};
  for (std::int64_t c = 0; c < 4; ++c) {
    float* partial = partials.data() + c * stride;
    attend_chunk(packed.span, 80, head.scale(), c, queries, &range, 1, &partial);
  }
  merge_chunks(partials.data(), stride, 4, 80, all.data());
  merge_chunks(partials.data() + stride, stride, 2, 80, some.data());
  EXPECT_TRUE(same_bits(all, some));
  EXPECT_TRUE(same_bits(all, attended(head, query, range)));
  merge_chunks(partials.data(), stride, 1, 80, all.data());
  EXPECT_TRUE(same_bits(all, std::vector<float>(80, 0.0f)));
}

TEST(ChunksOf, CoversTheRange) {
  const auto is = [](PositionRange range, std::int64_t first, std::int64_t last) {
    const ChunkRange chunks = chunks_of(range);
    return chunks.first == first && chunks.last == last;
  };
  EXPECT_TRUE(is({0, 1}, 0, 1));
  EXPECT_TRUE(is({0, kAttentionChunk}, 0, 1));
  EXPECT_TRUE(is({0, kAttentionChunk + 1}, 0, 2));
  EXPECT_TRUE(is({kAttentionChunk - 1, kAttentionChunk + 1}, 0, 2));
  EXPECT_TRUE(is({kAttentionChunk, kAttentionChunk}, 0, 0));
  EXPECT_TRUE(is({5 * kAttentionChunk, 6 * kAttentionChunk}, 5, 6));
}

}  // namespace
}  // namespace stagformer::internal
