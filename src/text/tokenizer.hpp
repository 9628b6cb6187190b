// Text to token ids and back. Every rank holds the same tokenizer, made from the checkpoint's bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace stagformer::internal {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Ids of the text alone: neither BOS nor EOS is added.
  virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;
  /// The same for what a chat template made: control tokens that it wrote become their ids, and only these.
  /// `foreign`: the bytes that come from messages, or nothing where none does.
  virtual std::vector<std::int32_t> encode_chat(std::string_view text,
                                                const std::vector<bool>& foreign) const = 0;
  /// How a chat template writes the token; empty where there is no such token.
  virtual std::string token_name(std::int32_t id) const = 0;
  /// Bytes that a token adds to running text (a leading space included); empty for control tokens (BOS, EOS,
  /// ...). May be a part of a UTF-8 character.
  virtual std::string token_bytes(std::int32_t id) const = 0;
  /// The whole text of a sequence that starts a text (a sentencepiece dummy prefix is removed).
  virtual std::string decode(std::span<const std::int32_t> ids) const = 0;
  virtual std::int64_t vocab_size() const = 0;
  virtual const char* type() const = 0;
};

/// type: byte | sentencepiece | huggingface. Throws CheckpointError for damaged or unsupported models, naming
/// the part.
std::unique_ptr<Tokenizer> make_tokenizer(std::string_view type, std::span<const std::byte> model);

/// Passes whole UTF-8 characters on and holds back an unfinished one; invalid bytes become U+FFFD.
class Utf8Stream {
 public:
  /// Text that is complete after these bytes.
  std::string push(std::string_view bytes);
  /// What is left at the end: an unfinished character becomes one U+FFFD.
  std::string finish();

 private:
  std::string pending_;
};

}  // namespace stagformer::internal
