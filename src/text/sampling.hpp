// Choosing the next token from logits that are spread over ranks in slices of the vocabulary.
//
// Each rank summarises its slice in one fixed-size record a row; after the records have been exchanged every
// rank picks the same token from the same records with the same counter-based random numbers. The vocabulary
// is cut only between blocks, sums are kept by block and merged in block order, so the pick never depends on
// the number of ranks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace stagformer::internal {

/// Rows of the vocabulary per block: depends on V alone, a multiple of 16, at most 256 blocks.
std::int64_t vocabulary_block_rows(std::int64_t vocab_size);

/// A rank's part of the vocabulary: blocks [block_begin, block_end). Slices differ by at most one block; none
/// has more than slice 0.
struct VocabularySlice {
  std::int64_t vocab_size = 0;
  std::int64_t block_rows = 0;
  std::int64_t block_begin = 0, block_end = 0;
  std::int64_t row_begin() const { return block_begin * block_rows; }
  std::int64_t row_end() const;  ///< clipped to vocab_size
  std::int64_t rows() const { return row_end() > row_begin() ? row_end() - row_begin() : 0; }
};
VocabularySlice vocabulary_slice(std::int64_t vocab_size, int part, int parts);

struct SamplingParams {
  float temperature = 0;   ///< 0 = greedy, else at least 1e-6
  std::int64_t top_k = 0;  ///< 0 = off
  float top_p = 1;         ///< 1 = off
  float min_p = 0;         ///< 0 = off
  std::uint64_t seed = 0;
  float repetition_penalty = 1;  ///< 1 = off; of every token of prompt and text so far
  float presence_penalty = 0;    ///< 0 = off; of every token generated so far
  float frequency_penalty = 0;   ///< 0 = off; the same, times how often
};
/// Throws UsageError for values out of range, naming the field.
void check_sampling(const SamplingParams& params);

/// Keys the random numbers: the same for every placement.
struct SamplingKey {
  std::uint64_t seed = 0;
  std::uint64_t sequence = 0;  ///< index of the sequence in the input
  std::uint64_t position = 0;  ///< of the token being chosen
};
/// A standard Gumbel variate for one token id, from a counter-based generator; the same bits on every
/// machine.
double gumbel(const SamplingKey& key, std::int32_t token);

struct Candidate {
  float logit = 0;
  std::int32_t id = -1;
};

/// Layout of one row's record for all ranks of a read-out; records of all ranks have the same size.
struct RecordLayout {
  std::int64_t candidates = 1;  ///< best candidates a rank sends
  std::int64_t blocks = 0;      ///< most blocks of any slice
  bool raw_sums = false;        ///< block sums of the logits as they are (log-probabilities)
  bool tempered_sums = false;  ///< block sums of logits / temperature (top-p without top-k, min-p needs none)
  std::int64_t top = 0;        ///< best candidates a rank sends besides, to be reported; needs raw_sums
  std::size_t bytes() const;   ///< a multiple of 8
};

/// Fills the record of one row from this rank's slice of logits ([slice.rows()], token id = row_begin +
/// index). A logit that is not finite marks the record. An empty slice gives a record without candidates.
void summarize_slice(std::span<const float> logits, const VocabularySlice& slice,
                     const SamplingParams& params, const SamplingKey& key, const RecordLayout& layout,
                     std::byte* record);

struct Pick {
  enum class Status { ok, need_more_candidates, not_finite };
  Status status = Status::ok;
  std::int32_t token = -1;
  float log_probability = 0;  ///< of the token under the untempered distribution; only with raw_sums
};

/// Chooses from the records of all parts (record of part i at records + i * stride). need_more_candidates:
/// the allowed set reaches below what was sent; exchange again with a larger RecordLayout::candidates.
Pick pick_token(const std::byte* records, std::size_t stride, int parts, std::int64_t vocab_size,
                const SamplingParams& params, const SamplingKey& key, const RecordLayout& layout);

/// Candidates that a first exchange should carry for these settings; no more than the largest slice's rows
/// are of use.
std::int64_t initial_candidates(const SamplingParams& params);
/// True where the layout must have tempered_sums.
bool needs_tempered_sums(const SamplingParams& params);

/// A token and its log-probability under the untempered distribution.
struct TopToken {
  std::int32_t id = -1;
  float log_probability = 0;
};
/// The likeliest tokens in order, as many as `out` has room for and the vocabulary has; at most layout.top.
/// Returns how many. The records must be finite.
std::size_t top_tokens(const std::byte* records, std::size_t stride, int parts, std::int64_t vocab_size,
                       const RecordLayout& layout, std::span<TopToken> out);

/// log(sum exp(logits)) over the whole vocabulary from the records' raw block sums, merged in block order.
double log_sum_exp(const std::byte* records, std::size_t stride, int parts, std::int64_t vocab_size,
                   const RecordLayout& layout);

}  // namespace stagformer::internal
