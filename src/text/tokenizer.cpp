#include "text/tokenizer.hpp"

#include "stagformer/error.hpp"
#include "text/byte_tokenizer.hpp"
#include "text/huggingface_tokenizer.hpp"
#include "text/sentencepiece_tokenizer.hpp"

namespace stagformer::internal {

std::unique_ptr<Tokenizer> make_tokenizer(std::string_view type, std::span<const std::byte> model) {
  if (type == "byte") return std::make_unique<ByteTokenizer>();
  if (type == "sentencepiece") return std::make_unique<SentencePieceTokenizer>(model);
  if (type == "huggingface") return make_huggingface_tokenizer(model);
  throw CheckpointError("tokenizer: unknown type '" + std::string(type) +
                        "' (expected byte, sentencepiece or huggingface)");
}

}  // namespace stagformer::internal
