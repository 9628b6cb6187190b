// Texts to the sequences that score them, cut as the lm-evaluation-harness cuts them, so that its figures and
// ours are comparable.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "pipeline/scoring.hpp"
#include "stagformer/config.hpp"
#include "text/tokenizer.hpp"

namespace stagformer::internal {

class ScoringTexts {
 public:
  /// longest: most rows of a sequence. Borrows both.
  ScoringTexts(const Tokenizer& tokenizer, const ModelConfig& config, std::int64_t longest)
      : tokenizer_(tokenizer), config_(config), longest_(longest) {}

  /// Blanks at the context's end move to the continuation; both are tokenized as one text, and what lies
  /// behind the context's own number of tokens is scored. An empty context is the model's BOS, or EOS where
  /// it has none. What is too long loses its beginning. Throws InputError where nothing, or more than fits,
  /// would be scored.
  ScoringSequence continuation(std::string_view context, std::string_view continuation) const;

  /// Every token of the text, the first behind BOS or EOS: windows that predict `longest` tokens each, the
  /// last one moved back so that it is full. An empty text gives none.
  std::vector<ScoringSequence> whole(std::string_view text) const;

 private:
  std::vector<std::int32_t> tokens_of(std::string_view text) const;
  std::int32_t beginning() const;
  std::vector<std::int32_t> with_bos(std::string_view text) const;

  const Tokenizer& tokenizer_;
  const ModelConfig& config_;
  std::int64_t longest_;
};

/// Bytes at the end that Python's str.rstrip() removes.
std::size_t trailing_blanks(std::string_view text);

}  // namespace stagformer::internal
