// A sentencepiece model (unigram, BPE, ...), run by the library.
#pragma once

#include <memory>

#include "text/added_tokens.hpp"
#include "text/tokenizer.hpp"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace stagformer::internal {

class SentencePieceTokenizer final : public Tokenizer {
 public:
  /// `model`: the bytes of a .model file. Throws CheckpointError where the library refuses them.
  explicit SentencePieceTokenizer(std::span<const std::byte> model);
  ~SentencePieceTokenizer() override;

  std::vector<std::int32_t> encode(std::string_view text) const override;
  std::vector<std::int32_t> encode_chat(std::string_view text,
                                        const std::vector<bool>& foreign) const override;
  std::string token_name(std::int32_t id) const override;
  std::string token_bytes(std::int32_t id) const override;
  std::string decode(std::span<const std::int32_t> ids) const override;
  std::int64_t vocab_size() const override;
  const char* type() const override { return "sentencepiece"; }

 private:
  /// Spaces at the beginning of a text that stand for no character of it.
  enum class LeadingSpace { kept, first_removed, all_removed };

  std::string bytes_of_piece(int id) const;
  std::string library_text(const std::vector<int>& ids) const;
  LeadingSpace find_leading_space() const;

  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
  std::vector<std::string> bytes_;    ///< by id
  AddedTokenMatcher control_tokens_;  ///< as chat templates write them
  LeadingSpace leading_space_ = LeadingSpace::kept;
};

}  // namespace stagformer::internal
