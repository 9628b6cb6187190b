#include <gtest/gtest.h>

#include "text/tokenizer.hpp"
#include "text/utf8.hpp"

namespace stagformer::internal {
namespace {

std::string streamed(const std::vector<std::string>& pieces) {
  Utf8Stream stream;
  std::string out;
  for (const std::string& piece : pieces) out += stream.push(piece);
  return out + stream.finish();
}

std::string replaced(int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += kReplacementCharacter;
  return out;
}

const std::string kMixed = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x99\x82z\xF4\x8F\xBF\xBF\xED\x9F\xBF!";

TEST(Utf8Stream, PassesTextOnWhateverTheCuts) {
  for (std::size_t i = 0; i <= kMixed.size(); ++i)
    for (std::size_t j = i; j <= kMixed.size(); ++j)
      EXPECT_EQ(streamed({kMixed.substr(0, i), kMixed.substr(i, j - i), kMixed.substr(j)}), kMixed)
          << i << ' ' << j;
}

TEST(Utf8Stream, HoldsBackOnlyWhatIsUnfinished) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("ab\xE2\x82"), "ab");
  EXPECT_EQ(stream.push(""), "");
  EXPECT_EQ(stream.push("\xAC"
                        "c"),
            "\xE2\x82\xAC"
            "c");
  EXPECT_EQ(stream.finish(), "");
}

TEST(Utf8Stream, FinishesAnUnfinishedCharacterOnce) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("\xF0\x9F\x99"), "");
  EXPECT_EQ(stream.finish(), replaced(1));
  EXPECT_EQ(stream.finish(), "");
  EXPECT_EQ(stream.push("x"), "x");
}

// Each maximal subpart gives one U+FFFD (Unicode standard, section 3.9).
TEST(Utf8Stream, ReplacesMaximalSubparts) {
  const struct {
    std::string bytes;
    std::string expected;
  } cases[] = {
      {"\x80", replaced(1)},
      {"\xBF\xBF", replaced(2)},
      {"\xC0\xAF", replaced(2)},  // overlong /
      {"\xC1\xBF", replaced(2)},
      {"\xE0\x80\xAF", replaced(3)},  // overlong
      {"\xE0\x9F\xBF", replaced(3)},
      {"\xF0\x80\x80\xAF", replaced(4)},
      {"\xF0\x8F\xBF\xBF", replaced(4)},
      {"\xED\xA0\x80", replaced(3)},  // surrogate
      {"\xED\xBF\xBF", replaced(3)},
      {"\xF4\x90\x80\x80", replaced(4)},  // above U+10FFFF
      {"\xF5\x80\x80\x80", replaced(4)},
      {"\xFF\xFE", replaced(2)},
      {"\xE2\x82"
       "A",
       replaced(1) + "A"},
      {"\xF0\x9F\x99"
       "A",
       replaced(1) + "A"},
      {"\xF0\x9F"
       "A",
       replaced(1) + "A"},
      {"\xE2\x82\xE2\x82\xAC", replaced(1) + "\xE2\x82\xAC"},
      {"\xC3\xC3\xA9", replaced(1) + "\xC3\xA9"},
      // the standard's own example, table 3-11
      {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF"
       "A",
       replaced(4) + "A"},
      {std::string("\0x", 2), std::string("\0x", 2)},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(valid_utf8(c.bytes), c.expected) << testing::PrintToString(c.bytes);
    for (std::size_t cut = 0; cut <= c.bytes.size(); ++cut)
      EXPECT_EQ(streamed({c.bytes.substr(0, cut), c.bytes.substr(cut)}), c.expected)
          << testing::PrintToString(c.bytes) << " cut at " << cut;
  }
}

TEST(Utf8, RoundTripsEveryCodePoint) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_utf8(text, c);
    const Utf8Scan scan = scan_utf8(text);
    ASSERT_EQ(scan.kind, Utf8Scan::Kind::valid) << static_cast<std::uint32_t>(c);
    ASSERT_EQ(scan.bytes, text.size());
    ASSERT_EQ(scan.code_point, c);
  }
}

}  // namespace
}  // namespace stagformer::internal
