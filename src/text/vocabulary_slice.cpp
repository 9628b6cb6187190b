// How the vocabulary is cut into blocks, and the blocks into slices.
#include <algorithm>
#include <limits>

#include "base/check.hpp"
#include "text/sampling.hpp"

namespace stagformer::internal {
namespace {

constexpr std::int64_t kMostBlocks = 256;
constexpr std::int64_t kRowMultiple = 16;  // rows of a weight panel: a slice is always whole panels

}  // namespace

std::int64_t vocabulary_block_rows(std::int64_t vocab_size) {
  STAG_CHECK(vocab_size > 0 && vocab_size <= std::numeric_limits<std::int32_t>::max(), vocab_size);
  const std::int64_t rows = (vocab_size + kMostBlocks - 1) / kMostBlocks;
  return (rows + kRowMultiple - 1) / kRowMultiple * kRowMultiple;
}

std::int64_t VocabularySlice::row_end() const {
  return std::min(block_end * block_rows, vocab_size);
}

VocabularySlice vocabulary_slice(std::int64_t vocab_size, int part, int parts) {
  STAG_CHECK(parts >= 1 && part >= 0 && part < parts, part, parts);
  VocabularySlice slice;
  slice.vocab_size = vocab_size;
  slice.block_rows = vocabulary_block_rows(vocab_size);
  const std::int64_t blocks = (vocab_size + slice.block_rows - 1) / slice.block_rows;
  const auto cut = [&](std::int64_t i) {
    return (blocks * i + parts - 1) / parts;
  };  // rounded up: slice 0 is largest
  slice.block_begin = cut(part);
  slice.block_end = cut(part + 1);
  return slice;
}

}  // namespace stagformer::internal
