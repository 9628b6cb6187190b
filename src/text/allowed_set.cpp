#include "text/allowed_set.hpp"

#include <algorithm>

#include "text/deterministic_math.hpp"

namespace stagformer::internal {

bool AllowedSet::build(const Records& records, const SamplingParams& params, std::int64_t vocab_size) {
  merge_.reset(records);
  weights_.clear();
  params_ = params;
  limit_ = static_cast<std::size_t>(params.top_k > 0 ? std::min(params.top_k, vocab_size) : vocab_size);
  return cut_top_p(records) && cut_min_p() && reach(limit_) != Reach::unknown;
}

std::span<const Candidate> AllowedSet::candidates() const {
  return {merge_.list().data(), std::min(limit_, merge_.list().size())};
}

AllowedSet::Reach AllowedSet::reach(std::size_t n) {
  const Reach result = merge_.ensure(n);
  while (weights_.size() < merge_.list().size()) {
    const double t = tempered(merge_.list()[weights_.size()].logit, params_);
    weights_.push_back(deterministic_exp(t - largest()));
  }
  return result;
}

double AllowedSet::largest() const {
  return tempered(merge_.list().front().logit, params_);
}

// Mass of what top-k leaves, in units of the best candidate's; nothing where that is not known yet. Without
// top-k it comes from the block sums, since the nucleus need not be sent whole to know its share.
std::optional<double> AllowedSet::mass(const Records& records) {
  if (reach(1) != Reach::have) return std::nullopt;
  if (params_.top_k == 0) return records.mass(false, static_cast<double>(params_.temperature), largest());
  if (reach(limit_) == Reach::unknown) return std::nullopt;
  double sum = 0;
  for (std::size_t i = 0; i < std::min(limit_, weights_.size()); ++i) sum += weights_[i];
  return sum;
}

bool AllowedSet::cut_top_p(const Records& records) {
  if (params_.top_p >= 1) return true;
  const std::optional<double> total = mass(records);
  if (!total) return false;
  const double wanted = static_cast<double>(params_.top_p) * *total;
  double sum = 0;
  for (std::size_t i = 0; i < limit_; ++i) {
    const Reach result = reach(i + 1);
    if (result != Reach::have) return result == Reach::end;
    sum += weights_[i];
    if (sum >= wanted) limit_ = i + 1;
  }
  return true;
}

bool AllowedSet::cut_min_p() {
  if (params_.min_p <= 0) return true;
  for (std::size_t i = 0; i < limit_; ++i) {
    const Reach result = reach(i + 1);
    if (result != Reach::have) return result == Reach::end;
    if (weights_[i] < static_cast<double>(params_.min_p)) limit_ = i;
  }
  return true;
}

}  // namespace stagformer::internal
