// The choice itself, made by every rank alike from the same records.
#include <algorithm>
#include <vector>

#include "base/check.hpp"
#include "text/allowed_set.hpp"
#include "text/random.hpp"
#include "text/sampling_record.hpp"

namespace stagformer::internal {
namespace {

/// Gumbel-max: drawing from the softmax over the contestants without knowing its denominator.
class Contest {
 public:
  Contest(const SamplingParams& params, const SamplingKey& key) : params_(params), source_(key) {}
  void enter(const Candidate& candidate) {
    const double value =
        tempered(candidate.logit, params_) + gumbel_from_uniform(source_.uniform(candidate.id));
    if (winner_.id >= 0 && (value < best_ || (value == best_ && candidate.id > winner_.id))) return;
    best_ = value;
    winner_ = candidate;
  }
  Candidate winner() const { return winner_; }

 private:
  const SamplingParams& params_;
  UniformSource source_;
  double best_ = 0;
  Candidate winner_;
};

Candidate pick_from_winners(const Records& records, const SamplingParams& params, const SamplingKey& key) {
  Contest contest(params, key);
  Candidate best;
  for (int part = 0; part < records.parts(); ++part) {
    if (records.header(part).candidates == 0) continue;
    const Candidate candidate = records.candidate(part, 0);
    if (params.temperature > 0) {
      contest.enter(candidate);
    } else if (best.id < 0 || better(candidate, best)) {
      best = candidate;
    }
  }
  return params.temperature > 0 ? contest.winner() : best;
}

}  // namespace

Pick pick_token(const std::byte* records, std::size_t stride, int parts, std::int64_t vocab_size,
                const SamplingParams& params, const SamplingKey& key, const RecordLayout& layout) {
  const Records all(records, stride, parts, vocab_size, layout);
  Pick pick;
  pick.status = Pick::Status::not_finite;
  if (all.any_not_finite()) return pick;
  Candidate chosen;
  if (has_filter(params)) {
    static thread_local AllowedSet allowed;  // keeps its memory: nothing is allocated a step
    pick.status = Pick::Status::need_more_candidates;
    if (!allowed.build(all, params, vocab_size)) return pick;
    Contest contest(params, key);
    for (const Candidate& candidate : allowed.candidates()) contest.enter(candidate);
    chosen = contest.winner();
  } else {
    chosen = pick_from_winners(all, params, key);
  }
  STAG_CHECK(chosen.id >= 0 && chosen.id < vocab_size, chosen.id, vocab_size);
  pick.status = Pick::Status::ok;
  pick.token = chosen.id;
  if (layout.raw_sums) {
    const double total = log_sum_exp(records, stride, parts, vocab_size, layout);
    pick.log_probability = static_cast<float>(static_cast<double>(chosen.logit) - total);
  }
  return pick;
}

std::size_t top_tokens(const std::byte* records, std::size_t stride, int parts, std::int64_t vocab_size,
                       const RecordLayout& layout, std::span<TopToken> out) {
  const Records all(records, stride, parts, vocab_size, layout);
  static thread_local std::vector<Candidate> best;  // keeps its memory
  best.clear();
  for (int part = 0; part < parts; ++part) {
    const std::int64_t rows = vocabulary_slice(vocab_size, part, parts).rows();
    for (std::int64_t i = 0; i < std::min(layout.top, rows); ++i) best.push_back(all.top(part, i));
  }
  // The best of the whole vocabulary are among the best of its slices.
  const std::size_t count = std::min({out.size(), best.size(), static_cast<std::size_t>(layout.top)});
  std::partial_sort(best.begin(), best.begin() + static_cast<std::ptrdiff_t>(count), best.end(), better);
  const double total = log_sum_exp(records, stride, parts, vocab_size, layout);
  for (std::size_t i = 0; i < count; ++i)
    out[i] = {best[i].id, static_cast<float>(static_cast<double>(best[i].logit) - total)};
  return count;
}

}  // namespace stagformer::internal
