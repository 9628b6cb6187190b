// What is damaged or not supported is refused with its name, whatever it is.
#include <gtest/gtest.h>

#include <random>

#include "huggingface_fixture.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

void expect_refused(const std::string& text, const std::string& named) {
  try {
    tokenizer_from(text);
    ADD_FAILURE() << named;
  } catch (const CheckpointError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find(named), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

/// The fixture with the value at a JSON pointer replaced.
void expect_refused(const std::string& pointer, const Json& value, const std::string& named) {
  Json json = fixture_json();
  json[Json::json_pointer(pointer)] = value;
  expect_refused(json.dump(), named);
}

TEST(HuggingFaceRefusals, UnsupportedPartsByName) {
  expect_refused("/model/type", "Unigram", "model: type 'Unigram'");
  expect_refused("/model/byte_fallback", true, "model.byte_fallback");
  expect_refused("/model/dropout", 0.1, "model.dropout");
  expect_refused("/model/end_of_word_suffix", "</w>", "model.end_of_word_suffix");
  expect_refused("/model/continuing_subword_prefix", "##", "model.continuing_subword_prefix");
  expect_refused("/normalizer", {{"type", "Replace"}}, "normalizer: type 'Replace'");
  expect_refused("/normalizer", {{"type", "Sequence"}, {"normalizers", {{{"type", "Prepend"}}}}},
                 "normalizer.normalizers[0]: type 'Prepend'");
  expect_refused("/pre_tokenizer", {{"type", "Metaspace"}}, "pre_tokenizer: type 'Metaspace'");
  expect_refused("/pre_tokenizer", {{"type", "Digits"}}, "ends without ByteLevel");
  expect_refused("/pre_tokenizer",
                 {{"type", "Sequence"}, {"pretokenizers", {{{"type", "ByteLevel"}}, {{"type", "Digits"}}}}},
                 "pretokenizers[1]: 'Digits' behind ByteLevel");
  expect_refused("/pre_tokenizer", nullptr, "pre_tokenizer");
  expect_refused("/decoder", {{"type", "WordPiece"}}, "decoder: type 'WordPiece'");
  expect_refused("/decoder", nullptr, "decoder");
}

TEST(HuggingFaceRefusals, PatternsThatAreNone) {
  const auto split = [](const Json& pattern, const std::string& behavior) -> Json {
    return {{"type", "Sequence"},
            {"pretokenizers",
             {{{"type", "Split"}, {"pattern", pattern}, {"behavior", behavior}}, {{"type", "ByteLevel"}}}}};
  };
  expect_refused("/pre_tokenizer", split({{"Regex", "(a"}}, "Isolated"), "pretokenizers[0].pattern");
  expect_refused("/pre_tokenizer", split({{"Regex", "\\p{Nonsense}"}}, "Isolated"), "Nonsense");
  expect_refused("/pre_tokenizer", split({{"Regex", ""}}, "Isolated"), "empty");
  expect_refused("/pre_tokenizer", split({{"String", ""}}, "Isolated"), "empty");
  expect_refused("/pre_tokenizer", split({{"Glob", "a"}}, "Isolated"), "'String' is missing");
  expect_refused("/pre_tokenizer", split({{"Regex", "a"}}, "Sideways"), "'Sideways'");
}

TEST(HuggingFaceRefusals, WrongVocabularies) {
  expect_refused("/model/vocab/A", -1, "token id");
  expect_refused("/model/vocab/A", 3000000000, "token id");
  expect_refused("/model/vocab/A", 1 << 23, "token id");
  expect_refused("/model/vocab/A", "65", "integer");
  expect_refused("/model/vocab/A", 65.5, "integer");
  expect_refused("/model/vocab/A", 66, "id 66 belongs to two tokens");
  expect_refused("/model/vocab", Json::object(), "model.vocab: is empty");
  expect_refused("/model/vocab", Json::array(), "model.vocab: must be an object");
  expect_refused("/model/unk_token", "<unk>", "'<unk>' is not in the vocabulary");
  expect_refused("/added_tokens/0/id", -5, "added_tokens[0].id");
  expect_refused("/added_tokens/0/id", 65, "id 65 belongs to two tokens");
  expect_refused("/added_tokens/0/content", "A", "'A' has another id");
  expect_refused("/added_tokens/0/content", nullptr, "added_tokens[0].content");
  expect_refused("/added_tokens/0/lstrip", "yes", "added_tokens[0].lstrip");
}

TEST(HuggingFaceRefusals, WrongMerges) {
  expect_refused("/model/merges", Json::object(), "model.merges: must be a list");
  expect_refused("/model/merges/0", "he", "'he'");
  expect_refused("/model/merges/0", "h e l", "'h e l'");
  expect_refused("/model/merges/0", Json{"h"}, "two parts");
  expect_refused("/model/merges/0", Json{"h", 1}, "string");
  expect_refused("/model/merges/0", 7, "string");
  expect_refused("/model/merges/0", "h\n\x01", "two tokens with a blank");
  expect_refused("/model/merges/0", "h z", "'hz' is not in the vocabulary");
  expect_refused("/model/merges/0", "\u4e16 e", "'\u4e16' is not in the vocabulary");
}

TEST(HuggingFaceRefusals, TextThatIsNoJson) {
  expect_refused("", "not valid JSON");
  expect_refused("{", "not valid JSON");
  expect_refused("[]", "must be an object");
  expect_refused("null", "must be an object");
  expect_refused("{}", "'pre_tokenizer' is missing");
  expect_refused("{\"model\": \"\xFF\"}", "not valid JSON");
  expect_refused(std::string(2000000, '['), "nested too deeply");
  std::string sequences;
  for (int i = 0; i < 30; ++i) sequences += R"({"type": "Sequence", "pretokenizers": [)";
  sequences += R"({"type": "ByteLevel"})";
  for (int i = 0; i < 30; ++i) sequences += "]}";
  expect_refused(R"({"pre_tokenizer": )" + sequences + "}", "nested too deeply");
}

// Whatever is cut off or changed: a tokenizer or a CheckpointError, nothing else.
TEST(HuggingFaceRefusals, DamagedFilesNeverDoAnythingElse) {
  const std::string good = fixture_json().dump();
  std::mt19937 generator(5);
  int refused = 0;
  for (int trial = 0; trial < 1500; ++trial) {
    std::string text = good;
    if (trial % 3 == 0) text.resize(generator() % text.size());
    for (int change = 0; change < 3 && !text.empty(); ++change)
      text[generator() % text.size()] = R"({}[]",:0-9truenl)"[generator() % 17];
    try {
      const auto tokenizer = tokenizer_from(text);
      tokenizer->decode(tokenizer->encode("hello <|end|> caf\u00E9"));
    } catch (const CheckpointError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace stagformer::internal
