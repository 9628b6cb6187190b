// Every byte is a token: ids 0-255, then BOS and EOS. Needs no model.
#pragma once

#include "text/tokenizer.hpp"

namespace stagformer::internal {

class ByteTokenizer final : public Tokenizer {
 public:
  std::vector<std::int32_t> encode(std::string_view text) const override;
  /// BOS and EOS are written <s> and </s>.
  std::vector<std::int32_t> encode_chat(std::string_view text,
                                        const std::vector<bool>& foreign) const override;
  std::string token_name(std::int32_t id) const override;
  std::string token_bytes(std::int32_t id) const override;
  std::string decode(std::span<const std::int32_t> ids) const override;
  std::int64_t vocab_size() const override { return 258; }  // 256 = BOS, 257 = EOS
  const char* type() const override { return "byte"; }
};

}  // namespace stagformer::internal
