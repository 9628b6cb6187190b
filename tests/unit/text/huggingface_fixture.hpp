// A small tokenizer.json made by hand: 256 bytes (ids 0-255 in the order of the bytes), a few merges, added
// tokens.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "text/byte_level.hpp"
#include "text/tokenizer.hpp"

namespace stagformer::internal {

using Json = nlohmann::json;
using Ids = std::vector<std::int32_t>;

// Ids from 256 on. U+0120 is the symbol of a space; the symbols of the bytes C3 A9 are the letters "\u00C3"
// and "\u00A9".
inline constexpr std::int32_t kHe = 256, kLl = 257, kHell = 258, kHello = 259, kSpaceH = 260, kEAcute = 261,
                              kLo = 262, kAa = 263, kAaaa = 264;
inline constexpr std::int32_t kEnd = 265, kTool = 266;

inline std::vector<std::pair<std::string, std::string>> fixture_merges() {
  return {{"h", "e"},           {"l", "l"}, {"he", "ll"}, {"hell", "o"}, {"\u0120", "h"},
          {"\u00C3", "\u00A9"}, {"l", "o"}, {"a", "a"},   {"aa", "aa"}};
}

inline Json added_token(const std::string& content, std::int32_t id, bool special,
                        const Json& more = Json::object()) {
  Json token{{"id", id},        {"content", content}, {"single_word", false},  {"lstrip", false},
             {"rstrip", false}, {"special", special}, {"normalized", !special}};
  token.update(more);
  return token;
}

inline Json fixture_json() {
  Json vocab = Json::object(), merges = Json::array();
  for (int byte = 0; byte < 256; ++byte) vocab[byte_symbol(static_cast<unsigned char>(byte))] = byte;
  std::int32_t id = 256;
  for (const auto& [left, right] : fixture_merges()) {
    vocab[left + right] = id++;
    merges.push_back(left + " " + right);
  }
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", {added_token("<|end|>", kEnd, true), added_token("<tool>", kTool, false)}},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
          {"post_processor", {{"type", "TemplateProcessing"}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", ""},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", vocab},
            {"merges", merges}}}};
}

inline std::unique_ptr<Tokenizer> tokenizer_from(const std::string& text) {
  return make_tokenizer("huggingface", std::as_bytes(std::span(text)));
}
inline std::unique_ptr<Tokenizer> tokenizer_from(const Json& json) {
  return tokenizer_from(json.dump());
}

}  // namespace stagformer::internal
