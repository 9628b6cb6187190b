// One rank's part of a choice: its slice of the logits condensed into a record.
#include <algorithm>
#include <cstring>
#include <limits>

#include "base/check.hpp"
#include "kernels/kernels.hpp"
#include "text/random.hpp"
#include "text/sampling_record.hpp"

namespace stagformer::internal {
namespace {

/// A bound that spares nearly all logarithms: a token whose upper random bits are below it, and whose
/// tempered logit is at least `lead` below the best sum so far, cannot exceed that sum. -log(u) >= 1 - u, so
/// its Gumbel variate is at most -log(1 - u), which is below the lead where 1 - u > e^-lead; a few terms of
/// the series bound e^lead from below.
std::uint32_t least_winning_bits(double lead) {
  constexpr double kSafety = 1 + 1e-9;  // covers every rounding many times over
  if (!(lead > 0)) return 0;
  double series = 1;
  for (int term = 8; term >= 1; --term) series = 1 + series * lead / term;
  const double u = 1 - kSafety / series;
  return u > 0 ? static_cast<std::uint32_t>(u * 0x1p32) : 0;
}

float largest_of(const float* logits, std::size_t n) {
  float largest = logits[0];
  for (std::size_t i = 1; i < n; ++i) largest = logits[i] > largest ? logits[i] : largest;
  return largest;
}

/// The winner of logit / temperature + gumbel in the slice, ties to the lowest id.
Candidate best_perturbed(std::span<const float> logits, const VocabularySlice& slice,
                         const SamplingParams& params, const SamplingKey& key) {
  const UniformSource source(key);
  double best = -std::numeric_limits<double>::infinity();
  Candidate winner;
  for (std::size_t begin = 0; begin < logits.size(); begin += UniformChunk::kSize) {
    const std::size_t n = std::min<std::size_t>(UniformChunk::kSize, logits.size() - begin);
    const std::uint32_t least =
        least_winning_bits(best - tempered(largest_of(logits.data() + begin, n), params));
    const auto first = static_cast<std::int32_t>(slice.row_begin() + static_cast<std::int64_t>(begin));
    const UniformChunk chunk = source.chunk(first);
    if (!chunk.any_from(least)) continue;
    for (std::size_t i = 0; i < n; ++i) {
      const auto lane = static_cast<int>(i);
      if (chunk.upper(lane) < least) continue;
      const double value = tempered(logits[begin + i], params) + gumbel_from_uniform(chunk.uniform(lane));
      if (value <= best) continue;
      best = value;
      winner = {logits[begin + i], first + lane};
    }
  }
  return winner;
}

/// The `count` best of the slice in order, kept in a heap whose top is the worst. The result lives until the
/// next call.
std::span<const Candidate> best_candidates(std::span<const float> logits, std::int64_t row_begin,
                                           std::size_t count) {
  static thread_local std::vector<Candidate> heap;  // keeps its memory: nothing is allocated a step
  heap.clear();
  heap.reserve(count);
  auto id = static_cast<std::int32_t>(row_begin);
  for (const float logit : logits) {
    const Candidate candidate{logit, id++};
    if (heap.size() < count) {
      heap.push_back(candidate);
      if (heap.size() == count) std::make_heap(heap.begin(), heap.end(), better);
    } else if (better(candidate, heap.front())) {
      std::pop_heap(heap.begin(), heap.end(), better);
      heap.back() = candidate;
      std::push_heap(heap.begin(), heap.end(), better);
    }
  }
  std::sort(heap.begin(), heap.end(), better);
  return heap;
}

void write_block_sums(std::span<const float> logits, const VocabularySlice& slice, float inverse_temperature,
                      std::byte* out) {
  const auto block_rows = static_cast<std::size_t>(slice.block_rows);
  for (std::size_t begin = 0; begin < logits.size(); begin += block_rows) {
    const std::size_t n = std::min(block_rows, logits.size() - begin);
    const BlockSum sum = block_sum(logits.data() + begin, static_cast<std::int64_t>(n), inverse_temperature);
    std::memcpy(out, &sum, sizeof sum);
    out += sizeof sum;
  }
}

std::size_t write_candidates(std::span<const float> logits, const VocabularySlice& slice,
                             const SamplingParams& params, const SamplingKey& key, std::int64_t most,
                             std::byte* out) {
  if (logits.empty()) return 0;
  if (has_filter(params)) {
    const std::size_t count = std::min(static_cast<std::size_t>(most), logits.size());
    const auto best = best_candidates(logits, slice.row_begin(), count);
    std::memcpy(out, best.data(), best.size_bytes());
    return best.size();
  }
  Candidate winner;
  if (params.temperature > 0) {
    winner = best_perturbed(logits, slice, params, key);
  } else {
    const std::int64_t index = argmax(logits.data(), static_cast<std::int64_t>(logits.size()));
    winner = {logits[static_cast<std::size_t>(index)], static_cast<std::int32_t>(slice.row_begin() + index)};
  }
  std::memcpy(out, &winner, sizeof winner);
  return 1;
}

}  // namespace

void summarize_slice(std::span<const float> logits, const VocabularySlice& slice,
                     const SamplingParams& params, const SamplingKey& key, const RecordLayout& layout,
                     std::byte* record) {
  STAG_CHECK(static_cast<std::int64_t>(logits.size()) == slice.rows(), logits.size(), slice.rows());
  STAG_CHECK(slice.block_end - slice.block_begin <= layout.blocks, slice.block_end - slice.block_begin,
             layout.blocks);
  const RecordOffsets offsets(layout);
  std::memset(record, 0, offsets.end);
  RecordHeader header;
  if (!all_finite(logits.data(), slice.rows())) {
    header.not_finite = 1;
  } else {
    const std::size_t sent =
        write_candidates(logits, slice, params, key, layout.candidates, record + offsets.candidates);
    header.candidates = static_cast<std::int32_t>(sent);
    header.truncated = sent < logits.size() ? 1 : 0;
    if (layout.raw_sums) write_block_sums(logits, slice, 1, record + offsets.raw);
    if (layout.tempered_sums && needs_tempered_sums(params)) {
      const auto inverse = static_cast<float>(1 / static_cast<double>(params.temperature));
      write_block_sums(logits, slice, inverse, record + offsets.tempered);
    }
    if (layout.top > 0 && !logits.empty()) {
      const std::size_t count = std::min(static_cast<std::size_t>(layout.top), logits.size());
      const auto best = best_candidates(logits, slice.row_begin(), count);
      std::memcpy(record + offsets.top, best.data(), best.size_bytes());
    }
  }
  std::memcpy(record, &header, sizeof header);
}

}  // namespace stagformer::internal
