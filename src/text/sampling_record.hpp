// The bytes of a record, and the order of candidates:
//
//   header                       16 bytes
//   candidates x Candidate       8 bytes each, best first, the first header.candidates of them are meaningful
//   blocks x BlockSum            8 bytes each, raw: sum of exp(logit - max); only with raw_sums
//   blocks x BlockSum            tempered: sum of exp((logit - max) / temperature); only with tempered_sums
//   top x Candidate              the slice's best, best first; as many of them as the slice has rows
//
// Bytes beyond what the header and the slice make meaningful are zero, so that records can be compared and
// hashed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.hpp"
#include "text/sampling.hpp"

namespace stagformer::internal {

/// Larger logit first, then lower id. The one order of all choices; never true for both (a, b) and (b, a).
inline bool better(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

/// True where the record must carry more than its slice's winner.
inline bool has_filter(const SamplingParams& params) {
  return params.temperature > 0 && (params.top_k > 0 || params.top_p < 1 || params.min_p > 0);
}

/// logit / temperature as every rank computes it.
inline double tempered(float logit, const SamplingParams& params) {
  return static_cast<double>(logit) / static_cast<double>(params.temperature);
}

struct RecordHeader {
  std::int32_t not_finite =
      0;  ///< 1: the slice holds a logit that is NaN or infinite; nothing else is meaningful
  std::int32_t candidates = 0;  ///< how many candidates follow
  std::int32_t truncated = 0;   ///< 1: the slice has rows that were not sent
  std::int32_t unused = 0;
};

/// Where the parts of a record begin, in bytes.
struct RecordOffsets {
  explicit RecordOffsets(const RecordLayout& layout);
  std::size_t candidates, raw, tempered, top, end;
};

/// Read access to the records of all parts of one row.
class Records {
 public:
  Records(const std::byte* records, std::size_t stride, int parts, std::int64_t vocab_size,
          const RecordLayout& layout);

  int parts() const { return parts_; }
  RecordHeader header(int part) const;
  Candidate candidate(int part, std::int64_t i) const;
  Candidate top(int part, std::int64_t i) const;  ///< i < min(layout.top, rows of the part's slice)
  bool any_not_finite() const;
  /// sum over the vocabulary of exp(scale * logit - shift), where scale is 1 or 1 / temperature: block sums
  /// merged in ascending block order. `shift` must be at least the largest scaled logit.
  double mass(bool raw, double temperature, double shift) const;
  /// Largest logit of all blocks, from the raw sums.
  float largest_logit() const;

 private:
  const std::byte* at(int part, std::size_t offset) const {
    return records_ + stride_ * static_cast<std::size_t>(part) + offset;
  }
  template <typename Visit>
  void for_blocks(bool raw, Visit&& visit) const;

  const std::byte* records_;
  std::size_t stride_;
  int parts_;
  std::int64_t vocab_size_;
  RecordLayout layout_;
  RecordOffsets offsets_;
};

}  // namespace stagformer::internal
