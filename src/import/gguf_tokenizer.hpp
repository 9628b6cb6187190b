// The tokenizer in a GGUF file's metadata, as the bytes of a file that the engine reads.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "import/gguf_header.hpp"

namespace stagformer::internal {

/// What the number in tokenizer.ggml.token_type says.
enum class TokenKind { normal = 1, unknown, control, user_defined, unused, byte };

/// tokenizer.ggml.tokens with their kinds and, for SentencePiece, their scores. Views of the header.
struct GgufVocabulary {
  std::vector<std::string_view> tokens;
  std::vector<TokenKind> kinds;  ///< as many
  std::vector<float> scores;     ///< as many, or none
};

/// Sets bos_token_id, eos_token_id (with the end of a turn) and add_bos as the file says.
void add_gguf_tokens(const GgufHeader& header, nlohmann::json& config);

/// From tokenizer.ggml.model `llama` (a SentencePiece model) or `gpt2` (a tokenizer.json of byte-level BPE).
/// A file without a tokenizer gives none, and a warning.
SourceTokenizer gguf_tokenizer(const GgufHeader& header, std::vector<std::string>& warnings);

}  // namespace stagformer::internal
