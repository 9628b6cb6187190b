#include <gtest/gtest.h>

#include <chrono>

#include "huggingface_fixture.hpp"

namespace stagformer::internal {
namespace {

TEST(ByteLevel, AlphabetIsThatOfGpt2) {
  EXPECT_EQ(byte_symbol('A'), "A");
  EXPECT_EQ(byte_symbol(' '), "\u0120");
  EXPECT_EQ(byte_symbol('\n'), "\u010A");
  EXPECT_EQ(byte_symbol(0), "\u0100");
  EXPECT_EQ(byte_symbol(0x7F), "\u0121");
  EXPECT_EQ(byte_symbol(0xA0), "\u0142");
  EXPECT_EQ(byte_symbol(0xAD), "\u0143");
  EXPECT_EQ(byte_symbol(0xFF), "\u00FF");
  for (int byte = 0; byte < 256; ++byte)
    EXPECT_EQ(bytes_of_symbols(byte_symbol(static_cast<unsigned char>(byte))),
              std::string(1, static_cast<char>(byte)));
  EXPECT_FALSE(bytes_of_symbols(" "));
  EXPECT_FALSE(bytes_of_symbols("\u0144"));
  EXPECT_FALSE(bytes_of_symbols("\u4e16"));
}

TEST(HuggingFace, MergesInTheOrderOfTheirRanks) {
  const auto tokenizer = tokenizer_from(fixture_json());
  EXPECT_EQ(tokenizer->encode("hello"), (Ids{kHello}));
  EXPECT_EQ(tokenizer->encode("helo"), (Ids{kHe, kLo}));
  EXPECT_EQ(tokenizer->encode("lllo"), (Ids{kLl, kLo}));
  EXPECT_EQ(tokenizer->encode("lll"), (Ids{kLl, 'l'}));        // leftmost first
  EXPECT_EQ(tokenizer->encode(" hello"), (Ids{' ', kHello}));  // "he" has a lower rank than " h"
  EXPECT_EQ(tokenizer->encode(" ha"), (Ids{kSpaceH, 'a'}));
  EXPECT_EQ(tokenizer->encode("aaaaaaa"), (Ids{kAaaa, kAa, 'a'}));
  EXPECT_EQ(tokenizer->encode("caf\u00E9"), (Ids{'c', 'a', 'f', kEAcute}));
  EXPECT_TRUE(tokenizer->encode("").empty());
}

TEST(HuggingFace, BothNotationsOfMergesMeanTheSame) {
  Json json = fixture_json();
  Json pairs = Json::array();
  for (const auto& [left, right] : fixture_merges()) pairs.push_back({left, right});
  json["model"]["merges"] = pairs;
  const auto a = tokenizer_from(fixture_json()), b = tokenizer_from(json);
  for (const std::string text : {"hello world", "aaaaaaaaaa", "caf\u00E9 hell lo", " h he"})
    EXPECT_EQ(a->encode(text), b->encode(text));
}

TEST(HuggingFace, CutsWordsAsGpt2Does) {
  const auto tokenizer = tokenizer_from(fixture_json());
  EXPECT_EQ(tokenizer->encode("a a"), (Ids{'a', ' ', 'a'}));
  EXPECT_EQ(tokenizer->encode("aa1aa"), (Ids{kAa, '1', kAa}));
  EXPECT_EQ(tokenizer->encode("a\na"), (Ids{'a', '\n', 'a'}));  // no merge reaches across a word's end
}

TEST(HuggingFace, RoundTripsAnyText) {
  const auto tokenizer = tokenizer_from(fixture_json());
  for (const std::string& text :
       {std::string("hello\n\t  world  "), std::string("\u4e16\u754c \U0001F642 caf\u00E9"),
        std::string("a\0b", 3), std::string("   ")})
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("a\xFFz")), "a\uFFFDz");
}

TEST(HuggingFace, TokenBytesMayBePartsOfCharacters) {
  const auto tokenizer = tokenizer_from(fixture_json());
  EXPECT_EQ(tokenizer->token_bytes(0xE4), "\xE4");
  EXPECT_EQ(tokenizer->token_bytes(kSpaceH), " h");
  EXPECT_EQ(tokenizer->token_bytes(kEAcute), "\u00E9");
}

TEST(HuggingFace, AddedTokensAreCutOutFirst) {
  const auto tokenizer = tokenizer_from(fixture_json());
  EXPECT_EQ(tokenizer->encode("hello<|end|>hello"), (Ids{kHello, kEnd, kHello}));
  EXPECT_EQ(tokenizer->encode("<tool><|end|>"), (Ids{kTool, kEnd}));
  EXPECT_EQ(tokenizer->encode("<|end"), (Ids{'<', '|', 'e', 'n', 'd'}));
  EXPECT_EQ(tokenizer->token_bytes(kEnd), "");  // special
  EXPECT_EQ(tokenizer->token_bytes(kTool), "<tool>");
  EXPECT_EQ(tokenizer->decode(Ids{'a', kEnd, kTool, 5000, -1}), "a<tool>");
  EXPECT_EQ(tokenizer->vocab_size(), 267);
}

TEST(HuggingFace, TheLongestAddedTokenWins) {
  Json json = fixture_json();
  json["added_tokens"].push_back(added_token("<tool>x", 300, false));
  const auto tokenizer = tokenizer_from(json);
  EXPECT_EQ(tokenizer->encode("<tool>xy<tool>y"), (Ids{300, 'y', kTool, 'y'}));
  EXPECT_EQ(tokenizer->vocab_size(), 301);
  EXPECT_EQ(tokenizer->token_bytes(290), "");  // the file leaves it out
}

TEST(HuggingFace, AddedTokensTakeWhiteSpaceAlong) {
  Json json = fixture_json();
  json["added_tokens"] = {added_token("<l>", 300, true, {{"lstrip", true}}),
                          added_token("<r>", 301, true, {{"rstrip", true}})};
  const auto tokenizer = tokenizer_from(json);
  EXPECT_EQ(tokenizer->encode("a \u3000<l> b"), (Ids{'a', 300, ' ', 'b'}));
  EXPECT_EQ(tokenizer->encode("a <r> \n b"), (Ids{'a', ' ', 301, 'b'}));
  EXPECT_EQ(tokenizer->encode("<r> <l>"), (Ids{301, 300}));
}

TEST(HuggingFace, SingleWordsMustStandAlone) {
  Json json = fixture_json();
  json["added_tokens"] = {added_token("aa", kAa, false, {{"single_word", true}})};
  json["model"]["merges"] = Json::array();
  const auto tokenizer = tokenizer_from(json);
  EXPECT_EQ(tokenizer->encode("aa aab \u00E9aa(aa)"),
            (Ids{kAa, ' ', 'a', 'a', 'b', ' ', 0xC3, 0xA9, 'a', 'a', '(', kAa, ')'}));
}

TEST(HuggingFace, NormalizesTextButNotRawTokens) {
  Json json = fixture_json();
  json["normalizer"] = {{"type", "NFC"}};
  json["added_tokens"].push_back(added_token("x\u00E9", 300, false));  // sought in the normalised text
  json["added_tokens"].push_back(added_token("ye\u0301", 301, true));  // as it stands
  const auto tokenizer = tokenizer_from(json);
  EXPECT_EQ(tokenizer->encode("e\u0301"), (Ids{kEAcute}));
  EXPECT_EQ(tokenizer->encode("xe\u0301"), (Ids{300}));
  EXPECT_EQ(tokenizer->encode("ye\u0301"), (Ids{301}));
  EXPECT_EQ(tokenizer->encode("y\u00E9"), (Ids{'y', kEAcute}));
}

TEST(HuggingFace, NormalFormsAreTheOnesNamed) {
  Json json = fixture_json();
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFKC"}}, {{"type", "NFD"}}}}};
  EXPECT_EQ(tokenizer_from(json)->encode("\uFB01\u00E9"), (Ids{'f', 'i', 'e', 0xCC, 0x81}));
}

TEST(HuggingFace, PrefixSpaceIsAddedToEveryStretchOfText) {
  Json json = fixture_json();
  json["pre_tokenizer"]["add_prefix_space"] = true;
  const auto tokenizer = tokenizer_from(json);
  EXPECT_EQ(tokenizer->encode("ha<|end|> ha"), (Ids{kSpaceH, 'a', kEnd, kSpaceH, 'a'}));
  EXPECT_TRUE(tokenizer->encode("").empty());
}

TEST(HuggingFace, IgnoreMergesTakesWholeWordsFromTheVocabulary) {
  Json json = fixture_json();
  json["model"]["vocab"]["zz"] = 267;
  EXPECT_EQ(tokenizer_from(json)->encode("zz"), (Ids{'z', 'z'}));
  json["model"]["ignore_merges"] = true;
  EXPECT_EQ(tokenizer_from(json)->encode("zz zzz"), (Ids{267, ' ', 'z', 'z', 'z'}));
}

TEST(HuggingFace, BytesWithoutATokenBecomeTheUnknownToken) {
  Json json = fixture_json();
  json["model"]["vocab"].erase("z");
  EXPECT_EQ(tokenizer_from(json)->encode("azzb"), (Ids{'a', 'b'}));
  json["model"]["unk_token"] = "u";
  EXPECT_EQ(tokenizer_from(json)->encode("azzb"), (Ids{'a', 'u', 'u', 'b'}));
  json["model"]["fuse_unk"] = true;
  EXPECT_EQ(tokenizer_from(json)->encode("azzb"), (Ids{'a', 'u', 'b'}));
}

// Half a million letters without a break: quadratic merging would take minutes.
TEST(HuggingFace, LongWordsTakeReasonableTime) {
  const auto tokenizer = tokenizer_from(fixture_json());
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(tokenizer->encode(std::string(500000, 'a')), Ids(125000, kAaaa));
  EXPECT_EQ(tokenizer->encode(std::string(500000, ' ')).size(), 500000U);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

}  // namespace
}  // namespace stagformer::internal
