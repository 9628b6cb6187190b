// A SentencePiece model file, written field by field.
#pragma once

#include <cstddef>
#include <vector>

#include "import/gguf_tokenizer.hpp"

namespace stagformer::internal {

struct SentencePieceOptions {
  bool add_dummy_prefix = true;  ///< a space in front of a text
  bool remove_extra_whitespaces = false;
  int unknown_id = 0, bos_id = -1, eos_id = -1;  ///< -1: none
};

/// Byte-pair merging by score. The vocabulary has scores.
std::vector<std::byte> sentencepiece_model(const GgufVocabulary& vocabulary,
                                           const SentencePieceOptions& options);

}  // namespace stagformer::internal
