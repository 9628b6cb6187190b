#include "pipeline/drafting.hpp"

#include <algorithm>
#include <cstring>

#include "base/check.hpp"
#include "pipeline/tags.hpp"

namespace stagformer::internal {

Drafter::Drafter(Engine& engine, Transport& replica, const EngineOptions& options)
    : engine_(engine),
      guesses_(engine.part().rank == engine.part().ranks - 1),
      stride_(static_cast<std::size_t>(options.draft)),
      drafts_(static_cast<std::size_t>(options.slots) * stride_) {
  const auto slots = static_cast<std::size_t>(options.slots);
  rows_.reserve(slots);
  tokens_.reserve(slots);
  readouts_.reserve(slots);
  start_of_.reserve(slots);
  if (replica.size() == 1) return;
  STAG_CHECK(options.head == HeadMode::last);
  tree_ = std::make_unique<TreeBroadcast>(replica, replica.size() - 1, drafts_.size() * sizeof(std::int32_t),
                                          tag(Tag::drafts));
}

std::span<const std::int32_t> Drafter::run(std::span<const DraftStart> starts) {
  const std::size_t count = starts.size() * stride_;
  STAG_CHECK(count <= drafts_.size(), starts.size());
  const bool any = std::ranges::any_of(starts, [](const DraftStart& start) { return start.count > 0; });
  if (any && guesses_) guess(starts);
  if (any && tree_) share(count * sizeof(std::int32_t));
  return std::span(drafts_).first(count);
}

void Drafter::guess(std::span<const DraftStart> starts) {
  std::int32_t most = 0;
  for (const DraftStart& start : starts) most = std::max(most, start.count);
  STAG_CHECK(static_cast<std::size_t>(most) <= stride_, most, stride_);
  for (std::int32_t step = 0; step < most; ++step) guess_next(starts, step);
}

/// One more token for every sequence that wants one, drawn with the random numbers that the exact pass will
/// use: where both distributions are alike, so are the choices.
void Drafter::guess_next(std::span<const DraftStart> starts, std::int32_t step) {
  rows_.clear();
  tokens_.clear();
  readouts_.clear();
  start_of_.clear();
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const DraftStart& start = starts[i];
    if (start.count <= step) continue;
    SamplingKey key = start.key;
    key.position += static_cast<std::uint64_t>(step);
    const std::int32_t* own = drafts_.data() + i * stride_;
    readouts_.push_back({static_cast<std::int32_t>(rows_.size()), start.sampling, key, -1, false});
    rows_.push_back({start.row.slot, start.row.position + step});
    tokens_.push_back(step == 0 ? start.token : own[step - 1]);
    start_of_.push_back(i);
  }
  engine_.run_sections({rows_, tokens_, readouts_, PassKind::draft});
  const std::span<const ReadoutResult> results = engine_.read_out_alone();
  for (std::size_t r = 0; r < results.size(); ++r)  // any token will do where the guess went wrong
    drafts_[start_of_[r] * stride_ + static_cast<std::size_t>(step)] =
        results[r].finite ? results[r].token : 0;
}

void Drafter::share(std::size_t bytes) {
  const WaitSubject subject{"the guessed tokens", engine_.part().ranks - 1, engine_.passes()};
  const PhaseScope phase(engine_.clock(), Phase::wait_candidates);
  if (guesses_) std::memcpy(tree_->acquire(subject).data(), drafts_.data(), bytes);
  tree_->start(bytes, subject);
  const std::span<const std::byte> message = tree_->wait(subject);
  if (!guesses_) std::memcpy(drafts_.data(), message.data(), bytes);
}

}  // namespace stagformer::internal
