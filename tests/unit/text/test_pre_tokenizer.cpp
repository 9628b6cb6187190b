#include <gtest/gtest.h>

#include "stagformer/error.hpp"
#include "text/pre_tokenizer.hpp"

namespace stagformer::internal {
namespace {

using Json = nlohmann::json;
using Words = std::vector<std::string>;

Json byte_level(bool prefix, bool regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", prefix}, {"use_regex", regex}};
}

Words split(const Json& first, const std::string& text) {
  const Json json{{"type", "Sequence"}, {"pretokenizers", {first, byte_level(false, false)}}};
  return PreTokenizer(JsonNode(json, "pre_tokenizer")).split(text);
}

Json regex_split(const std::string& pattern, const std::string& behavior, bool invert = false) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", behavior}, {"invert", invert}};
}

Words gpt2(const std::string& text) {
  const Json json = byte_level(false, true);
  return PreTokenizer(JsonNode(json, "pre_tokenizer")).split(text);
}

TEST(PreTokenizer, Gpt2Words) {
  EXPECT_EQ(gpt2("Hello there's 42 cats!!"), (Words{"Hello", " there", "'s", " 42", " cats", "!!"}));
  EXPECT_EQ(gpt2("a   b"), (Words{"a", "  ", " b"}));  // the last space belongs to the word
  EXPECT_EQ(gpt2("a   "), (Words{"a", "   "}));
  EXPECT_EQ(gpt2("a\n\nb"), (Words{"a", "\n", "\n", "b"}));
  EXPECT_EQ(gpt2("caf\u00E9\u4e16\u754c\u0663"), (Words{"caf\u00E9\u4e16\u754c", "\u0663"}));
  EXPECT_EQ(gpt2("I'LL"), (Words{"I", "'", "LL"}));  // contractions in lower case only
  EXPECT_TRUE(gpt2("").empty());
}

// U+180E is no white space in Unicode since 6.3, but is in PCRE2's own \s; U+0085 and U+3000 are in both.
TEST(PreTokenizer, WhiteSpaceIsThatOfUnicode) {
  EXPECT_EQ(gpt2("!\u180E!"), (Words{"!\u180E!"}));
  EXPECT_EQ(gpt2("!\u0085!"), (Words{"!", "\u0085", "!"}));
  EXPECT_EQ(gpt2("!\u3000!"), (Words{"!", "\u3000", "!"}));
  EXPECT_EQ(split(regex_split(R"(\s)", "Isolated"), "a\u180Eb\vc"), (Words{"a\u180Eb", "\v", "c"}));
  EXPECT_EQ(split(regex_split(R"([\w]+)", "Isolated"), "a\u0301_\u203F-b"),
            (Words{"a\u0301_\u203F", "-", "b"}));
}

TEST(PreTokenizer, Behaviors) {
  const std::string text = "a--b-c-";
  EXPECT_EQ(split(regex_split("-", "Isolated"), text), (Words{"a", "-", "-", "b", "-", "c", "-"}));
  EXPECT_EQ(split(regex_split("-", "Removed"), text), (Words{"a", "b", "c"}));
  EXPECT_EQ(split(regex_split("-", "Contiguous"), text), (Words{"a", "--", "b", "-", "c", "-"}));
  EXPECT_EQ(split(regex_split("-", "MergedWithPrevious"), text), (Words{"a-", "-", "b-", "c-"}));
  EXPECT_EQ(split(regex_split("-", "MergedWithNext"), text), (Words{"a", "-", "-b", "-c", "-"}));
  EXPECT_EQ(split(regex_split("-", "Removed", true), text), (Words{"-", "-", "-", "-"}));
  EXPECT_EQ(split(regex_split("[a-z]+", "Isolated", true), "ab1c"), (Words{"ab", "1", "c"}));
}

TEST(PreTokenizer, LiteralPatternsAreNoRegularExpressions) {
  const Json literal{{"type", "Split"}, {"pattern", {{"String", ".*"}}}, {"behavior", "Removed"}};
  EXPECT_EQ(split(literal, "ab.*c"), (Words{"ab", "c"}));
}

TEST(PreTokenizer, Digits) {
  EXPECT_EQ(split({{"type", "Digits"}, {"individual_digits", true}}, "a12\u00BD"),
            (Words{"a", "1", "2", "\u00BD"}));
  EXPECT_EQ(split({{"type", "Digits"}, {"individual_digits", false}}, "a12\u0663b"),
            (Words{"a", "12\u0663", "b"}));
}

TEST(PreTokenizer, SequencesApplyOneAfterAnother) {
  const Json json{
      {"type", "Sequence"},
      {"pretokenizers", {{{"type", "Digits"}, {"individual_digits", true}}, byte_level(true, true)}}};
  EXPECT_EQ(PreTokenizer(JsonNode(json, "pre_tokenizer")).split("ab 12c"),
            (Words{" ab", " ", " 1", " 2", " c"}));
}

TEST(PreTokenizer, EmptyMatchesCutWithoutLosingAnything) {
  EXPECT_EQ(split(regex_split("(?=b)", "Isolated"), "abab"), (Words{"a", "ba", "b"}));
  EXPECT_EQ(split(regex_split("x*", "Isolated"), "\u4e16xx\u754c"), (Words{"\u4e16", "xx", "\u754c"}));
}

TEST(PreTokenizer, CaretMeansEveryLine) {
  EXPECT_EQ(split(regex_split("^b", "Removed"), "b\nb"), (Words{"\n"}));
}

TEST(PreTokenizer, MegabytesInOneWord) {
  const std::string spaces(1 << 20, ' '), letters(1 << 20, 'x');
  EXPECT_EQ(gpt2(spaces + letters), (Words{spaces.substr(1), " " + letters}));
}

TEST(RegexTranslation, RefusesWhatTheTwoLibrariesReadDifferently) {
  for (const char* pattern :
       {R"(\h+)", R"(\Qa\E)", "(?m)a", "(?i-s:a)", "[a[bc]]", "[a&&b]", "a{1,2}+", "[]a]"})
    EXPECT_THROW(Regex(pattern, false, "here"), CheckpointError) << pattern;
  for (const char* pattern :
       {R"(\p{L}+)", R"(\p{L}++)", "(?i:'s)", "(?i)a", R"([^\r\n\p{L}\]]?+)", "[[:alpha:]]", R"(\S\W)"})
    EXPECT_NO_THROW(Regex(pattern, false, "here")) << pattern;
}

TEST(Regex, GivesUpOnRunawaySearches) {
  EXPECT_THROW(Regex("(a+a+)+[bc]", false, "here").matches(std::string(60, 'a')), InputError);
}

}  // namespace
}  // namespace stagformer::internal
