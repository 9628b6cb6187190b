#include "cli/item_scores.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

namespace stagformer::internal {
namespace {

using Length = std::function<double(const std::string&)>;

std::size_t best(const EvalItem& item, std::span<const SequenceScore> endings, const Length& length) {
  std::vector<double> values;
  for (std::size_t i = 0; i < endings.size(); ++i)
    values.push_back(endings[i].log_probability / length(item.endings[i]));
  return static_cast<std::size_t>(std::ranges::max_element(values) - values.begin());
}

double characters(const std::string& text) {
  return static_cast<double>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

ItemVerdict judge(const EvalItem& item, std::span<const SequenceScore> endings) {
  const auto none = [](const std::string&) { return 1.0; };
  const auto bytes = [](const std::string& text) { return static_cast<double>(text.size()); };
  return {best(item, endings, none) == item.label, best(item, endings, characters) == item.label,
          best(item, endings, bytes) == item.label};
}

Accuracy accuracy(std::int64_t right, std::int64_t all) {
  const auto n = static_cast<double>(all);
  const double mean = static_cast<double>(right) / n;
  return {mean, all > 1 ? std::sqrt(mean * (1 - mean) / (n - 1)) : 0};
}

nlohmann::ordered_json choice_record(const EvalItem& item, std::span<const SequenceScore> endings) {
  const ItemVerdict verdict = judge(item, endings);
  std::vector<double> log_probabilities;
  std::vector<std::int64_t> tokens;
  for (const SequenceScore& ending : endings) {
    log_probabilities.push_back(ending.log_probability);
    tokens.push_back(ending.tokens);
  }
  return {{"id", item.id},
          {"label", item.label},
          {"acc", verdict.acc},
          {"acc_norm", verdict.acc_norm},
          {"acc_bytes", verdict.acc_bytes},
          {"log_probabilities", log_probabilities},
          {"tokens", tokens}};
}

nlohmann::ordered_json request_record(const EvalItem& item, std::span<const SequenceScore> windows) {
  SequenceScore sum{0, 0, 1};
  for (const SequenceScore& window : windows) {
    sum.log_probability += window.log_probability;
    sum.tokens += window.tokens;
    sum.greedy &= window.greedy;
  }
  return {{"id", item.id},
          {"log_probability", sum.log_probability},
          {"tokens", sum.tokens},
          {"greedy", sum.greedy != 0}};
}

}  // namespace stagformer::internal
