// Unicode normalisation before tokenising: the `normalizer` of a tokenizer.json.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "text/tokenizer_json.hpp"

namespace stagformer::internal {

class Normalizer {
 public:
  /// Nothing: no normalisation. Refuses all but NFC, NFD, NFKC, NFKD and sequences of them.
  explicit Normalizer(const std::optional<JsonNode>& node);
  /// `text` must be valid UTF-8, and so is the result.
  std::string normalize(std::string text) const;

 private:
  void add(const JsonNode& node, int depth);

  std::vector<int> options_;  ///< of utf8proc, one a step
};

}  // namespace stagformer::internal
