#include "pipeline/evaluation.hpp"

#include <algorithm>
#include <string>

#include "base/check.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {

std::vector<Window> cut_windows(std::span<const std::int32_t> tokens, std::int64_t length, std::int64_t bos) {
  const bool add_bos = bos >= 0;
  const std::size_t step = static_cast<std::size_t>(length) - (add_bos ? 1 : 0);
  STAG_CHECK(length >= 2, length);
  std::vector<Window> windows;
  for (std::size_t at = 0; at < tokens.size(); at += step) {
    Window window;
    if (add_bos) window.push_back(static_cast<std::int32_t>(bos));
    const auto part = tokens.subspan(at, std::min(step, tokens.size() - at));
    window.insert(window.end(), part.begin(), part.end());
    if (window.size() >= 2) windows.push_back(std::move(window));
  }
  return windows;
}

Evaluator::Evaluator(Engine& engine, const EngineOptions& options, int lookahead,
                     std::int64_t recurrent_after)
    : options_(options),
      recurrent_after_(recurrent_after),
      passes_(engine, lookahead, [this](const auto& place, const auto& result) { take(place, result); }) {}

std::vector<WindowScores> Evaluator::score(std::span<const Window> windows,
                                           const std::function<void(std::size_t done)>& progress) {
  progress_ = progress;
  done_ = 0;
  scores_.clear();
  for (const Window& window : windows) scores_.emplace_back(window.size() - 1);
  const auto slots = static_cast<std::size_t>(options_.slots);
  for (std::size_t first = 0; first < windows.size() && !passes_.ended(); first += slots) {
    score_group(windows, first);
    done_ = std::min(first + slots, windows.size());
  }
  passes_.finish();
  return std::move(scores_);
}

/// As many windows as there are slots: first what runs all passes, window by window, then, where decoding is
/// recurrent, the rest of all of them side by side.
void Evaluator::score_group(std::span<const Window> windows, std::size_t first) {
  const std::size_t count = std::min(static_cast<std::size_t>(options_.slots), windows.size() - first);
  for (std::size_t i = 0; i < count; ++i) prefill(windows, first + i, static_cast<int>(i));
  if (options_.decode == DecodeMode::recurrent) decode(windows, first, count);
}

void Evaluator::prefill(std::span<const Window> windows, std::size_t window, int slot) {
  auto end =
      static_cast<std::int64_t>(windows[window].size()) - 1;  // the last token is predicted, never read
  if (options_.decode == DecodeMode::recurrent) end = std::min(end, recurrent_after_);
  for (std::int64_t at = 0; at < end && !passes_.ended(); at += options_.chunk) {
    for (std::int64_t t = at; t < std::min(at + options_.chunk, end); ++t) add_row(windows, window, slot, t);
    run(PassKind::exact);
  }
}

void Evaluator::decode(std::span<const Window> windows, std::size_t first, std::size_t count) {
  std::int64_t end = 0;
  for (std::size_t i = 0; i < count; ++i)
    end = std::max(end, static_cast<std::int64_t>(windows[first + i].size()) - 1);
  for (std::int64_t t = recurrent_after_; t < end && !passes_.ended(); ++t) {
    for (std::size_t i = 0; i < count; ++i)
      if (t < static_cast<std::int64_t>(windows[first + i].size()) - 1)
        add_row(windows, first + i, static_cast<int>(i), t);
    run(PassKind::recurrent);
  }
}

void Evaluator::add_row(std::span<const Window> windows, std::size_t window, int slot,
                        std::int64_t position) {
  const auto t = static_cast<std::size_t>(position);
  passes_.add(window, {slot, position}, windows[window][t], windows[window][t + 1]);
}

void Evaluator::run(PassKind kind) {
  passes_.run(kind);
  if (progress_) progress_(done_);
}

void Evaluator::take(const ScoredPasses::Place& place, const ReadoutResult& result) {
  if (!result.finite)
    throw NumericError("the model gave values that are not finite in window " +
                       std::to_string(place.sequence) + " at position " + std::to_string(place.position));
  scores_[place.sequence][static_cast<std::size_t>(place.position)] = result.log_probability;
}

}  // namespace stagformer::internal
