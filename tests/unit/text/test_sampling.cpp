#include <gtest/gtest.h>

#include <limits>

#include "sampling_harness.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

SamplingParams with(float temperature, std::int64_t top_k = 0, float top_p = 1, float min_p = 0) {
  SamplingParams params;
  params.temperature = temperature;
  params.top_k = top_k;
  params.top_p = top_p;
  params.min_p = min_p;
  return params;
}

TEST(Greedy, TakesTheLargestLogitAndOnTiesTheLowestId) {
  std::vector<float> logits = random_logits(263, 1, 1);
  for (const std::size_t id : {17U, 200U, 260U}) logits[id] = 9;
  for (const int parts : {1, 2, 3, 17, 40})
    EXPECT_EQ(choose(logits, parts, with(0), {}).pick.token, 17) << parts;
  logits[17] = 8;
  for (const int parts : {1, 2, 3, 17, 40})
    EXPECT_EQ(choose(logits, parts, with(0), {}).pick.token, 200) << parts;
}

TEST(Greedy, IgnoresTheFilters) {
  const std::vector<float> logits = random_logits(2048, 2, 2);
  const Choice choice = choose(logits, 3, with(0, 5, 0.1F, 0.5F), {});
  EXPECT_EQ(choice.pick.token, std::max_element(logits.begin(), logits.end()) - logits.begin());
  EXPECT_EQ(choice.exchanges, 1);
}

TEST(Greedy, NegativeZeroTiesWithZero) {
  std::vector<float> logits(64, -1.0F);
  logits[20] = -0.0F;
  logits[50] = 0.0F;
  for (const int parts : {1, 2, 4}) {
    EXPECT_EQ(choose(logits, parts, with(0), {}).pick.token, 20);
    EXPECT_EQ(choose(logits, parts, with(1, 1), {}).pick.token, 20);
  }
}

TEST(Filters, TopKOfTiedLogitsTakesTheLowestIds) {
  const std::vector<float> logits(300, 1.5F);
  for (std::uint64_t position = 0; position < 200; ++position)
    for (const int parts : {1, 3}) {
      const Pick pick = choose(logits, parts, with(1, 3), {1, 2, position}).pick;
      EXPECT_LT(pick.token, 3);
    }
}

TEST(Filters, TopKOneAndTinyTopPAndFullMinPAreGreedy) {
  const std::vector<float> logits = random_logits(2048, 1, 3);
  const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
  for (std::uint64_t position = 0; position < 50; ++position) {
    EXPECT_EQ(choose(logits, 3, with(2, 1), {1, 2, position}).pick.token, best);
    EXPECT_EQ(choose(logits, 3, with(2, 0, 1e-6F), {1, 2, position}).pick.token, best);
    EXPECT_EQ(choose(logits, 3, with(2, 0, 1, 1), {1, 2, position}).pick.token, best);
  }
}

TEST(Filters, TopKBeyondTheVocabularyIsNoFilter) {
  const std::vector<float> logits = random_logits(263, 1, 4);
  for (std::uint64_t position = 0; position < 100; ++position) {
    const SamplingKey key{3, 1, position};
    EXPECT_EQ(choose(logits, 2, with(1, 1000000), key).pick.token,
              choose(logits, 2, with(1), key).pick.token);
  }
}

TEST(NotFinite, AnyRankNoticesAnySlice) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), kInfinity, -kInfinity})
    for (const std::size_t at : {0U, 130U, 262U}) {
      std::vector<float> logits = random_logits(263, 1, 5);
      logits[at] = bad;
      for (const auto& params : {with(0), with(1), with(1, 4), with(1, 0, 0.5F), with(1, 0, 1, 0.5F)})
        for (const int parts : {1, 3, 20})
          EXPECT_EQ(choose(logits, parts, params, {}).pick.status, Pick::Status::not_finite)
              << bad << ' ' << at;
    }
}

TEST(NotFinite, HugeFiniteLogitsAreFine) {
  std::vector<float> logits(300, std::numeric_limits<float>::lowest());
  logits[77] = std::numeric_limits<float>::max();
  for (const auto& params :
       {with(0), with(1), with(1e-6F), with(1, 4), with(1, 0, 0.9F), with(1e-6F, 0, 0.9F, 0.1F)}) {
    const Choice choice = choose(logits, 3, params, {});
    EXPECT_EQ(choice.pick.token, 77);
    EXPECT_EQ(choice.pick.log_probability, 0);
  }
}

TEST(Sampling, AVocabularyOfOneToken) {
  const std::vector<float> logits{-3};
  for (const auto& params : {with(0), with(1), with(1, 4), with(1, 0, 0.9F), with(1, 0, 1, 0.2F)})
    for (const int parts : {1, 4}) EXPECT_EQ(choose(logits, parts, params, {}).pick.token, 0);
}

TEST(LogProbability, IsOfTheUntemperedDistribution) {
  const std::vector<float> logits = random_logits(50257, 3, 6);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  for (const auto& params : {with(0), with(0.7F), with(1.3F, 40), with(1, 0, 0.9F)}) {
    const Choice choice = choose(logits, 4, params, {8, 0, 3});
    const double expected =
        static_cast<double>(logits[static_cast<std::size_t>(choice.pick.token)]) - std::log(sum);
    EXPECT_NEAR(static_cast<double>(choice.pick.log_probability), expected, 2e-6 * std::abs(expected));
    EXPECT_NEAR(choice.log_sum, std::log(sum), 1e-6);
  }
}

TEST(Records, AreAMultipleOfEightBytesAndOneCandidateSuffices) {
  for (const bool raw : {false, true})
    for (const std::int64_t candidates : {1, 3, 64})
      EXPECT_EQ(layout_for(50257, 3, with(1, 0, 0.5F), candidates, raw).bytes() % 8, 0U);
  EXPECT_EQ(initial_candidates(with(0, 50, 0.5F)), 1);
  EXPECT_EQ(initial_candidates(with(1)), 1);
  EXPECT_EQ(initial_candidates(with(1, 50)), 50);
  EXPECT_FALSE(needs_tempered_sums(with(0, 0, 0.5F)));
  EXPECT_FALSE(needs_tempered_sums(with(1, 5, 0.5F)));
  EXPECT_TRUE(needs_tempered_sums(with(1, 0, 0.5F)));
}

TEST(CheckSampling, NamesTheField) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const struct {
    SamplingParams params;
    const char* field;
  } cases[] = {{with(-1), "temperature"},      {with(nan), "temperature"},   {with(kInfinity), "temperature"},
               {with(1e-9F), "temperature"},   {with(1, -1), "top_k"},       {with(1, 0, 0), "top_p"},
               {with(1, 0, 1.1F), "top_p"},    {with(1, 0, nan), "top_p"},   {with(1, 0, 1, -0.1F), "min_p"},
               {with(1, 0, 1, 1.1F), "min_p"}, {with(0, 0, 1, nan), "min_p"}};
  for (const auto& c : cases) {
    try {
      check_sampling(c.params);
      ADD_FAILURE() << c.field;
    } catch (const UsageError& error) {
      EXPECT_TRUE(std::string(error.what()).starts_with(c.field)) << error.what();
    }
  }
  for (const auto& params : {with(0), with(1), with(1e-6F), with(100, 1, 1e-9F, 1)})
    EXPECT_NO_THROW(check_sampling(params));
}

}  // namespace
}  // namespace stagformer::internal
