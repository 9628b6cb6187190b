// Bytes of a step and operations of a prompt, against numbers worked out by hand.
#include <gtest/gtest.h>

#include "checkpoint/made_tensors.hpp"
#include "pipeline/benchmark_cost.hpp"

namespace stagformer::internal {
namespace {

constexpr int kD = 64, kF = 96, kV = 320, kKeys = 32;  // 4 query heads and 2 key/value heads of 16
constexpr std::int64_t kSelf = (2 * kD * kD + 2 * kKeys * kD) * 4 + kD * 4;
constexpr std::int64_t kFeedForward = 3 * kD * kF * 4 + kD * 4;

CheckpointIndex model(const std::string& sections, const std::string& more = "") {
  return random_index(R"({"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 320, "max_position_embeddings": 64)" +
                          more + R"(, "sections": {"layers_per_section": 2, )" + sections + "}}",
                      NumberFormat::f32, 0);
}

StepBytes alone(const CheckpointIndex& index, const BenchPoint& point, EngineOptions options = {}) {
  return step_bytes(index,
                    rank_part(index.config, make_grid(1, index.config.sections.count), 0, options.head),
                    options, point);
}

/// Bytes of the keys and values of one head of one position, all heads.
constexpr std::int64_t kPosition = 2 * kKeys * 4;

TEST(StepBytes, OneSection) {
  const CheckpointIndex index = model(R"("count": 1)");
  const StepBytes bytes = alone(index, {8, 4, 3, 10, 1});
  EXPECT_EQ(bytes.weights, 2 * (kSelf + kFeedForward) + kV * kD * 4 + kD * 4);
  EXPECT_EQ(bytes.caches, 3 * 2 * 13 * kPosition);  // position 12 in the middle, itself included
}

TEST(StepBytes, AnUntiedEmbeddingIsLookedUpNotRead) {
  const std::string sections = R"("count": 1)";
  EXPECT_EQ(alone(model(sections, R"(, "tie_word_embeddings": false)"), {}).weights,
            alone(model(sections), {}).weights);
}

TEST(StepBytes, RanksShareWhatOneRankReads) {
  const CheckpointIndex index = model(R"("count": 4)");
  const BenchPoint point{8, 6, 2, 8, 1};
  const StepBytes whole = alone(index, point);
  for (const HeadMode head : {HeadMode::sliced, HeadMode::last})
    for (const int ranks : {2, 4}) {
      StepBytes sum;
      for (int rank = 0; rank < ranks; ++rank) {
        const StepBytes part =
            step_bytes(index, rank_part(index.config, make_grid(ranks, 4), rank, head), {}, point);
        sum.weights += part.weights;
        sum.caches += part.caches;
      }
      EXPECT_EQ(sum.weights, whole.weights) << ranks;
      EXPECT_EQ(sum.caches, whole.caches) << ranks;
    }
}

TEST(StepBytes, SectionsThatRunTogetherReadWhatTheyShareOnce) {
  const BenchPoint point{8, 6, 1, 8, 1};
  const CheckpointIndex shared = model(R"("count": 3, "weights": "shared")");
  // two sections have cross-attention, as large as self-attention; norms of two memories and of the end
  EXPECT_EQ(alone(shared, point).weights, 2 * (3 * kSelf + kFeedForward) + kV * kD * 4 + 3 * kD * 4);
  EngineOptions options;
  options.schedule = Schedule::sequential;
  EXPECT_EQ(alone(shared, point, options).weights, alone(model(R"("count": 3)"), point).weights);
}

TEST(StepBytes, RecurrentDecodingReadsTheLastSectionAlone) {
  const CheckpointIndex index = model(R"("count": 3, "weights": "shared")");
  EngineOptions options;
  options.decode = DecodeMode::recurrent;
  const StepBytes recurrent = alone(index, {8, 6, 1, 8, 1}, options);
  // its cross-attention is as large as self-attention; norms of memory and of the end
  EXPECT_EQ(recurrent.weights, 2 * (2 * kSelf + kFeedForward) + kV * kD * 4 + 2 * kD * 4);
  EXPECT_EQ(recurrent.caches, 2 * (12 + 11) * kPosition);
}

TEST(StepBytes, AWindowEndsTheMemory) {
  const BenchPoint point{8, 6, 1, 20, 1};  // position 23 in the middle
  const auto caches = [&](const std::string& window) {
    return alone(model(R"("count": 2, "cross_attention": {"window": )" + window + "}"), point).caches;
  };
  EXPECT_EQ(caches("null"), (4 * 24 + 2 * 23) * kPosition);
  EXPECT_EQ(caches("5"), (4 * 24 + 2 * 5) * kPosition);
  EXPECT_EQ(caches("1"), (4 * 24 + 1) * kPosition);  // no keys
}

TEST(PrefillOperations, ProductsAttentionAndOneHead) {
  const CheckpointIndex index = model(R"("count": 1)");
  const double products = 2.0 * 2 * (2 * kD * kD + 2 * kKeys * kD + 3 * kD * kF);  // a token
  const double attention = 2 * 4.0 * kD * (1 + 2 + 3 + 4 + 5);
  const double head = 2.0 * kV * kD;
  EXPECT_EQ(prefill_operations(index, {5, 1, 3, 5, 1}), 3 * (5 * products + attention + head));
}

}  // namespace
}  // namespace stagformer::internal
