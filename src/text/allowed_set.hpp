// Which tokens may be chosen once top-k, top-p and min-p have been applied.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "text/candidate_merge.hpp"

namespace stagformer::internal {

/// Cuts the ordered candidates down to the allowed ones: top-k, then top-p, then min-p, each a prefix of what
/// is left.
class AllowedSet {
 public:
  /// False: the set reaches below what was sent. `records` is not kept.
  bool build(const Records& records, const SamplingParams& params, std::int64_t vocab_size);
  std::span<const Candidate> candidates() const;

 private:
  using Reach = CandidateMerge::Reach;

  Reach reach(std::size_t n);
  double largest() const;
  std::optional<double> mass(const Records& records);
  bool cut_top_p(const Records& records);
  bool cut_min_p();

  CandidateMerge merge_;
  std::vector<double> weights_;  ///< exp((logit - best) / temperature) of the candidates read so far
  SamplingParams params_;
  std::size_t limit_ = 0;  ///< the first limit_ candidates are allowed; more than exist means all
};

}  // namespace stagformer::internal
