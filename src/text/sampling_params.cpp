// What settings are accepted, and what they ask of the records.
#include <cmath>
#include <string>
#include <utility>

#include "stagformer/error.hpp"
#include "text/sampling_record.hpp"

namespace stagformer::internal {
namespace {

constexpr std::int64_t kFirstCandidates = 64;  // holds most nuclei of a trained model
constexpr float kLeastRepetitionPenalty = 0.01F, kMostRepetitionPenalty = 100, kMostPenalty = 100;
constexpr float kLeastTemperature = 1e-6F;  // keeps 1 / temperature and all that follows from it finite

void check_field(bool good, const char* field, const char* range, double found) {
  if (!good) throw UsageError(std::string(field) + " must be " + range + ", found " + std::to_string(found));
}

}  // namespace

void check_sampling(const SamplingParams& params) {
  const bool cold = params.temperature == 0;
  check_field(std::isfinite(params.temperature) && (cold || params.temperature >= kLeastTemperature),
              "temperature", "0 (greedy) or a finite number from 0.000001 on",
              static_cast<double>(params.temperature));
  check_field(params.top_k >= 0, "top_k", "0 (off) or positive", static_cast<double>(params.top_k));
  check_field(params.top_p > 0 && params.top_p <= 1, "top_p", "above 0 and at most 1 (off)",
              static_cast<double>(params.top_p));
  check_field(params.min_p >= 0 && params.min_p <= 1, "min_p", "between 0 (off) and 1",
              static_cast<double>(params.min_p));
  check_field(params.repetition_penalty >= kLeastRepetitionPenalty &&
                  params.repetition_penalty <= kMostRepetitionPenalty,
              "repetition_penalty", "between 0.01 and 100 (1 = off)",
              static_cast<double>(params.repetition_penalty));
  for (const auto& [value, name] : {std::pair(params.presence_penalty, "presence_penalty"),
                                    std::pair(params.frequency_penalty, "frequency_penalty")})
    check_field(value >= -kMostPenalty && value <= kMostPenalty, name, "between -100 and 100 (0 = off)",
                static_cast<double>(value));
}

std::int64_t initial_candidates(const SamplingParams& params) {
  if (!has_filter(params)) return 1;
  return params.top_k > 0 ? params.top_k : kFirstCandidates;
}

bool needs_tempered_sums(const SamplingParams& params) {
  return params.temperature > 0 && params.top_k == 0 && params.top_p < 1;
}

}  // namespace stagformer::internal
