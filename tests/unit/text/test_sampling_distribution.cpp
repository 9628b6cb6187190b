// Many draws against the whole distribution, computed in double by the definition.
#include <gtest/gtest.h>

#include <numeric>

#include "sampling_harness.hpp"

namespace stagformer::internal {
namespace {

/// Probabilities by definition: temperature, top-k, top-p over what is left, min-p against the largest.
std::vector<double> expected_distribution(const std::vector<float>& logits, const SamplingParams& params) {
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  std::vector<double> weight;
  for (const std::size_t id : order)
    weight.push_back(std::exp((static_cast<double>(logits[id]) - static_cast<double>(logits[order[0]])) /
                              static_cast<double>(params.temperature)));
  if (params.top_k > 0 && params.top_k < static_cast<std::int64_t>(weight.size()))
    weight.resize(static_cast<std::size_t>(params.top_k));
  const double left = std::accumulate(weight.begin(), weight.end(), 0.0);
  double running = 0;
  for (std::size_t i = 0; i < weight.size(); ++i) {
    running += weight[i];
    if (params.top_p < 1 && running >= static_cast<double>(params.top_p) * left) weight.resize(i + 1);
  }
  std::erase_if(weight, [&](double w) { return w < static_cast<double>(params.min_p); });
  const double total = std::accumulate(weight.begin(), weight.end(), 0.0);
  std::vector<double> probability(logits.size());
  for (std::size_t i = 0; i < weight.size(); ++i) probability[order[i]] = weight[i] / total;
  return probability;
}

struct Deviation {
  double worst =
      0;  ///< largest |count - expected| in standard deviations, over tokens expected 10 times or more
  double chi_square = 0;  ///< in standard deviations above its mean, tokens expected less often pooled
  int forbidden = 0;      ///< draws of tokens outside the allowed set
};

Deviation compare(const std::vector<int>& counts, const std::vector<double>& probability, int draws) {
  Deviation deviation;
  double chi = 0, rare_expected = 0, rare_found = 0;
  int cells = 0;
  const auto add_cell = [&](double found, double p) {
    const double expected = p * draws, spread = std::sqrt(expected * (1 - p));
    if (spread > 0) deviation.worst = std::max(deviation.worst, std::abs(found - expected) / spread);
    chi += (found - expected) * (found - expected) / expected;
    ++cells;
  };
  for (std::size_t id = 0; id < counts.size(); ++id) {
    if (probability[id] == 0) deviation.forbidden += counts[id];
    if (probability[id] * draws >= 10) {
      add_cell(counts[id], probability[id]);
    } else {
      rare_expected += probability[id];
      rare_found += counts[id];
    }
  }
  if (rare_expected * draws >= 10) add_cell(rare_found, rare_expected);
  if (cells > 1) deviation.chi_square = (chi - (cells - 1)) / std::sqrt(2.0 * (cells - 1));
  return deviation;
}

constexpr int kDraws = 30000;

std::vector<int> draw_all(const std::vector<float>& logits, const SamplingParams& params) {
  std::vector<int> counts(logits.size());
  for (int draw = 0; draw < kDraws; ++draw) {
    const SamplingKey key{17, static_cast<std::uint64_t>(draw % 7), static_cast<std::uint64_t>(draw)};
    const Choice choice = choose(logits, 3, params, key, 0, false);
    EXPECT_EQ(choice.pick.status, Pick::Status::ok);
    ++counts[static_cast<std::size_t>(choice.pick.token)];
  }
  return counts;
}

struct Case {
  SamplingParams params;
  SamplingParams wrong;  ///< a distribution close by, which the draws must contradict
};

Case make_case(float temperature, std::int64_t top_k, float top_p, float min_p, float wrong_temperature,
               std::int64_t wrong_k, float wrong_p, float wrong_min) {
  return {{temperature, top_k, top_p, min_p, 17}, {wrong_temperature, wrong_k, wrong_p, wrong_min, 17}};
}

class Distribution : public testing::TestWithParam<Case> {};

TEST_P(Distribution, MatchesTheDefinition) {
  const std::vector<float> logits = random_logits(263, 1.5F, 99);
  const std::vector<int> counts = draw_all(logits, GetParam().params);
  const Deviation deviation = compare(counts, expected_distribution(logits, GetParam().params), kDraws);
  EXPECT_EQ(deviation.forbidden, 0);
  EXPECT_LT(deviation.worst, 4.5);
  EXPECT_LT(deviation.chi_square, 4);
  const Deviation twin = compare(counts, expected_distribution(logits, GetParam().wrong), kDraws);
  EXPECT_TRUE(twin.forbidden > 0 || twin.chi_square > 4) << twin.forbidden << ' ' << twin.chi_square;
}

INSTANTIATE_TEST_SUITE_P(
    All, Distribution,
    testing::Values(make_case(1, 0, 1, 0, 1.1F, 0, 1, 0), make_case(0.6F, 0, 1, 0, 0.63F, 0, 1, 0),
                    make_case(2, 0, 1, 0, 1.8F, 0, 1, 0), make_case(1, 20, 1, 0, 1, 19, 1, 0),
                    make_case(1.5F, 0, 0.8F, 0, 1.5F, 0, 0.79F, 0), make_case(1, 0, 1, 0.1F, 1, 0, 1, 0.12F),
                    make_case(0.8F, 30, 0.7F, 0, 0.8F, 0, 0.7F, 0),  // top-p is taken over what top-k leaves
                    make_case(1.2F, 50, 0.95F, 0.15F, 1.2F, 50, 0.95F, 0),
                    make_case(1, 0, 0.9F, 0.02F, 1, 0, 0.9F, 0.04F)));

}  // namespace
}  // namespace stagformer::internal
