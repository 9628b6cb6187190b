#include "text/sampling_record.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/check.hpp"
#include "text/deterministic_math.hpp"

namespace stagformer::internal {
namespace {

static_assert(sizeof(RecordHeader) == 16 && sizeof(Candidate) == 8 && sizeof(BlockSum) == 8);

template <typename T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

}  // namespace

RecordOffsets::RecordOffsets(const RecordLayout& layout) {
  STAG_CHECK(layout.candidates >= 1 && layout.blocks >= 0, layout.candidates, layout.blocks);
  const std::size_t sums = static_cast<std::size_t>(layout.blocks) * sizeof(BlockSum);
  candidates = sizeof(RecordHeader);
  raw = candidates + static_cast<std::size_t>(layout.candidates) * sizeof(Candidate);
  tempered = raw + (layout.raw_sums ? sums : 0);
  top = tempered + (layout.tempered_sums ? sums : 0);
  end = top + static_cast<std::size_t>(layout.top) * sizeof(Candidate);
}

std::size_t RecordLayout::bytes() const {
  return RecordOffsets(*this).end;
}

Records::Records(const std::byte* records, std::size_t stride, int parts, std::int64_t vocab_size,
                 const RecordLayout& layout)
    : records_(records),
      stride_(stride),
      parts_(parts),
      vocab_size_(vocab_size),
      layout_(layout),
      offsets_(layout) {
  STAG_CHECK(parts >= 1 && stride >= offsets_.end, parts, stride, offsets_.end);
}

RecordHeader Records::header(int part) const {
  const auto header = load<RecordHeader>(at(part, 0));
  STAG_CHECK(header.candidates >= 0 && header.candidates <= layout_.candidates, part, header.candidates);
  return header;
}

Candidate Records::candidate(int part, std::int64_t i) const {
  return load<Candidate>(at(part, offsets_.candidates + static_cast<std::size_t>(i) * sizeof(Candidate)));
}

Candidate Records::top(int part, std::int64_t i) const {
  return load<Candidate>(at(part, offsets_.top + static_cast<std::size_t>(i) * sizeof(Candidate)));
}

bool Records::any_not_finite() const {
  for (int part = 0; part < parts_; ++part)
    if (header(part).not_finite != 0) return true;
  return false;
}

template <typename Visit>
void Records::for_blocks(bool raw, Visit&& visit) const {
  STAG_CHECK(raw ? layout_.raw_sums : layout_.tempered_sums, raw);
  const std::size_t begin = raw ? offsets_.raw : offsets_.tempered;
  for (int part = 0; part < parts_; ++part) {
    const VocabularySlice slice = vocabulary_slice(vocab_size_, part, parts_);
    const std::int64_t blocks = slice.block_end - slice.block_begin;
    STAG_CHECK(blocks <= layout_.blocks, blocks, layout_.blocks);
    for (std::int64_t b = 0; b < blocks; ++b)
      visit(load<BlockSum>(at(part, begin + static_cast<std::size_t>(b) * sizeof(BlockSum))));
  }
}

double Records::mass(bool raw, double temperature, double shift) const {
  double total = 0;
  for_blocks(raw, [&](const BlockSum& block) {
    total += static_cast<double>(block.sum) *
             deterministic_exp(static_cast<double>(block.max) / temperature - shift);
  });
  return total;
}

float Records::largest_logit() const {
  float largest = -std::numeric_limits<float>::infinity();
  for_blocks(true, [&](const BlockSum& block) { largest = std::max(largest, block.max); });
  return largest;
}

double log_sum_exp(const std::byte* records, std::size_t stride, int parts, std::int64_t vocab_size,
                   const RecordLayout& layout) {
  const Records all(records, stride, parts, vocab_size, layout);
  const auto largest = static_cast<double>(all.largest_logit());
  return largest + deterministic_log(all.mass(true, 1, largest));
}

}  // namespace stagformer::internal
