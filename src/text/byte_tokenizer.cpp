#include "text/byte_tokenizer.hpp"

#include "text/added_tokens.hpp"

namespace stagformer::internal {
namespace {

constexpr std::int32_t kBos = 256, kEos = 257;

}  // namespace

std::vector<std::int32_t> ByteTokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> ids;
  ids.reserve(text.size());
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}

std::vector<std::int32_t> ByteTokenizer::encode_chat(std::string_view text,
                                                     const std::vector<bool>& foreign) const {
  AddedTokenMatcher control_tokens;
  for (const std::int32_t id : {kBos, kEos})
    control_tokens.add({.content = token_name(id), .id = id, .special = true});
  std::vector<std::int32_t> ids;
  for (const TextSegment& segment : control_tokens.split(text, foreign)) {
    const std::vector<std::int32_t> bytes = encode(segment.text);
    if (segment.id >= 0)
      ids.push_back(segment.id);
    else
      ids.insert(ids.end(), bytes.begin(), bytes.end());
  }
  return ids;
}

std::string ByteTokenizer::token_name(std::int32_t id) const {
  return id == kBos ? "<s>" : id == kEos ? "</s>" : token_bytes(id);
}

std::string ByteTokenizer::token_bytes(std::int32_t id) const {
  return id >= 0 && id < 256 ? std::string(1, static_cast<char>(id)) : std::string();
}

std::string ByteTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  for (const std::int32_t id : ids) text += token_bytes(id);
  return text;
}

}  // namespace stagformer::internal
