#include "cli/sampling_settings.hpp"

namespace stagformer::internal {

void SamplingSettings::visit(SettingsVisitor& v) {
  v.number("temperature", temperature, 0, 1000, "0 = greedy, the likeliest token");
  v.integer("top-k", top_k, 0, kAnyInteger, "Sample from the k likeliest tokens; 0 = all");
  v.number("top-p", top_p, 0, 1, "Sample from the smallest set of tokens with this probability");
  v.number("min-p", min_p, 0, 1, "Sample from tokens at least this times as likely as the likeliest");
  v.integer("seed", seed, 0, kAnyInteger, "Seed of the random numbers");
  v.number("repetition-penalty", repetition_penalty, 0.01, 100,
           "Divides the logits of tokens in prompt and text so far (multiplies negative ones); 1 = off");
  v.number("presence-penalty", presence_penalty, -100, 100,
           "Taken off the logit of every token generated so far");
  v.number("frequency-penalty", frequency_penalty, -100, 100, "The same, times how often it was generated");
}

SamplingParams SamplingSettings::params() const {
  SamplingParams params;
  params.temperature = static_cast<float>(temperature);
  params.top_k = top_k;
  params.top_p = static_cast<float>(top_p);
  params.min_p = static_cast<float>(min_p);
  params.seed = static_cast<std::uint64_t>(seed);
  params.repetition_penalty = static_cast<float>(repetition_penalty);
  params.presence_penalty = static_cast<float>(presence_penalty);
  params.frequency_penalty = static_cast<float>(frequency_penalty);
  return params;
}

}  // namespace stagformer::internal
