// Byte-pair encoding of single words with the vocabulary and merges of a tokenizer.json.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer_json.hpp"

namespace stagformer::internal {

inline constexpr std::int64_t kMostTokens = std::int64_t{1} << 22;

/// A token id of the file; refuses what is negative or beyond kMostTokens.
std::int32_t token_id(const JsonNode& node);

class BytePairModel {
 public:
  using Vocabulary = std::unordered_map<std::string, std::int32_t>;

  /// `model`: the part of that name. Refuses by name whatever would change the result and is not supported.
  explicit BytePairModel(const JsonNode& model);

  /// Appends the ids of one word (raw bytes).
  void encode(std::string_view word, std::vector<std::int32_t>& ids) const;
  /// Tokens as the file writes them, in the alphabet of byte_level.hpp.
  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  struct Merge {
    std::int32_t rank;  ///< earlier merges have lower ranks
    std::int32_t id;    ///< of the merged token
  };
  struct Symbol {
    std::int32_t id;              ///< -1: merged into the one before
    std::int32_t previous, next;  ///< positions, -1 at the ends
  };
  struct Candidate {
    Merge merge;
    std::int32_t position;  ///< of the left symbol
  };

  static std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
    return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) |
           static_cast<std::uint32_t>(right);
  }
  static bool later(const Candidate& a, const Candidate& b);

  void refuse_unsupported(const JsonNode& model) const;
  void read_vocabulary(const JsonNode& vocab);
  void read_merges(const JsonNode& merges);
  void add_merge(const JsonNode& node, const std::string& left, const std::string& right, std::int32_t rank);
  std::vector<Symbol> symbols_of(std::string_view word) const;
  void push_candidate(const std::vector<Symbol>& symbols, std::int32_t position,
                      std::vector<Candidate>& heap) const;
  void merge_all(std::vector<Symbol>& symbols) const;

  Vocabulary vocabulary_;
  Vocabulary whole_words_;  ///< raw bytes to id, filled for ignore_merges only
  std::unordered_map<std::uint64_t, Merge> merges_;
  std::array<std::int32_t, 256> byte_ids_;  ///< -1: the byte has no token
  std::int32_t unknown_id_ = -1;
  bool fuse_unknown_ = false;
};

}  // namespace stagformer::internal
