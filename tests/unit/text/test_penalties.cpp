// Penalties against their definition, and choices that do not depend on how the vocabulary is cut.
#include "text/penalties.hpp"

#include <gtest/gtest.h>

#include "sampling_harness.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

SamplingParams penalties(float repetition, float presence = 0, float frequency = 0) {
  SamplingParams params;
  params.repetition_penalty = repetition;
  params.presence_penalty = presence;
  params.frequency_penalty = frequency;
  return params;
}

/// The prompt 3, 5, 3 and then 5, 5, 7.
TokenHistory history() {
  TokenHistory history;
  const std::vector<std::int32_t> prompt = {3, 5, 3};
  history.add_prompt(prompt);
  for (const std::int32_t token : {5, 5, 7}) history.add_generated(token);
  return history;
}

/// All slices one after the other.
std::vector<float> penalized(std::vector<float> logits, int parts, const SamplingParams& params,
                             const TokenHistory& history) {
  for (int part = 0; part < parts; ++part) {
    const VocabularySlice slice = vocabulary_slice(static_cast<std::int64_t>(logits.size()), part, parts);
    if (slice.rows() > 0)
      apply_penalties(std::span(logits).subspan(static_cast<std::size_t>(slice.row_begin()),
                                                static_cast<std::size_t>(slice.rows())),
                      slice, params, history);
  }
  return logits;
}

TEST(Penalties, RepetitionIsOfPromptAndTextOnceForEveryToken) {
  std::vector<float> logits(64, 1);
  logits[3] = 2;
  logits[5] = -2;
  const std::vector<float> out = penalized(logits, 1, penalties(1.25F), history());
  std::vector<float> expected = logits;
  expected[3] = 2 / 1.25F;
  expected[5] = -2 * 1.25F;
  expected[7] = 1 / 1.25F;
  EXPECT_EQ(out, expected);
}

TEST(Penalties, PresenceAndFrequencyAreOfTheTextAlone) {
  const std::vector<float> logits(64, 1);
  std::vector<float> expected = logits;
  expected[5] = 1 - 2 * 0.25F - 0.5F;
  expected[7] = 1 - 0.25F - 0.5F;
  EXPECT_EQ(penalized(logits, 1, penalties(1, 0.5F, 0.25F), history()), expected);
}

TEST(Penalties, AreTheSameForEveryCutOfTheVocabulary) {
  TokenHistory history;
  std::mt19937 generator(5);
  for (int i = 0; i < 300; ++i) history.add_generated(static_cast<std::int32_t>(generator() % 1000));
  const std::vector<float> logits = random_logits(1000, 3, 9);
  SamplingParams params = penalties(1.3F, 0.2F, 0.4F);
  params.temperature = 0.8F;
  params.top_p = 0.9F;
  const std::vector<float> whole = penalized(logits, 1, params, history);
  EXPECT_NE(whole, logits);
  for (const int parts : {2, 3, 7, 40}) {
    EXPECT_EQ(penalized(logits, parts, params, history), whole) << parts;
    for (std::uint64_t position = 0; position < 20; ++position)
      EXPECT_EQ(choose(whole, parts, params, {1, 0, position}).pick.token,
                choose(whole, 1, params, {1, 0, position}).pick.token);
  }
}

TEST(Penalties, AreOffByDefaultAndChecked) {
  EXPECT_FALSE(has_penalties({}));
  EXPECT_TRUE(has_penalties(penalties(1.1F)));
  EXPECT_TRUE(has_penalties(penalties(1, 0, -1)));
  EXPECT_NO_THROW(check_sampling(penalties(1.1F, -2, 2)));
  EXPECT_THROW(check_sampling(penalties(0)), UsageError);
  EXPECT_THROW(check_sampling(penalties(-1)), UsageError);
  EXPECT_THROW(check_sampling(penalties(1, std::nanf(""))), UsageError);
  EXPECT_THROW(check_sampling(penalties(1, 0, 1000)), UsageError);
}

/// The n likeliest by sorting all, with log-probabilities in double.
std::vector<TopToken> expected_top(const std::vector<float>& logits, std::size_t n) {
  std::vector<std::int32_t> order(logits.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int32_t>(i);
  const auto logit = [&](std::int32_t id) {
    return static_cast<double>(logits[static_cast<std::size_t>(id)]);
  };
  std::ranges::stable_sort(order, [&](std::int32_t a, std::int32_t b) { return logit(a) > logit(b); });
  double sum = 0;
  for (const std::int32_t id : order) sum += std::exp(logit(id) - logit(order[0]));
  std::vector<TopToken> top;
  for (std::size_t i = 0; i < std::min(n, order.size()); ++i)
    top.push_back({order[i], static_cast<float>(logit(order[i]) - logit(order[0]) - std::log(sum))});
  return top;
}

TEST(TopTokens, AreTheLikeliestOfTheWholeVocabulary) {
  for (const std::int64_t vocab : {16, 263, 2000}) {
    std::vector<float> logits = random_logits(vocab, 2, static_cast<std::uint32_t>(vocab));
    logits[9] = logits[3] = logits[12];  // a tie goes to the lowest id
    for (const float temperature : {0.0F, 1.0F}) {
      SamplingParams params;
      params.temperature = temperature;
      for (const int parts : {1, 2, 5, 30}) {
        RecordLayout layout = layout_for(vocab, parts, params, 1, true);
        layout.top = 20;
        const auto records = records_of(logits, parts, params, {}, layout);
        std::vector<TopToken> top(20);
        const std::size_t count = top_tokens(records.data(), layout.bytes(), parts, vocab, layout, top);
        const std::vector<TopToken> expected = expected_top(logits, 20);
        ASSERT_EQ(count, expected.size()) << vocab << " " << parts;
        for (std::size_t i = 0; i < count; ++i) {
          EXPECT_EQ(top[i].id, expected[i].id) << vocab << " " << parts << " " << i;
          EXPECT_NEAR(top[i].log_probability, expected[i].log_probability, 1e-5);
        }
      }
    }
  }
}

}  // namespace
}  // namespace stagformer::internal
