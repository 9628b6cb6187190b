// How texts become sequences to be scored, and what neighbours share. The values are compared by
// tests/cli/test_scoring.py.
#include "pipeline/scoring.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "pipeline/scoring_text.hpp"
#include "support/refusal.hpp"

namespace stagformer::internal::test {
namespace {

using Ids = std::vector<std::int32_t>;

/// Bytes, but "ab" is one token: 256.
class PairTokenizer final : public Tokenizer {
 public:
  Ids encode(std::string_view text) const override {
    Ids ids;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const bool pair = text.substr(i, 2) == "ab";
      ids.push_back(pair ? 256 : static_cast<unsigned char>(text[i]));
      i += pair ? 1 : 0;
    }
    return ids;
  }
  Ids encode_chat(std::string_view text, const std::vector<bool>&) const override { return encode(text); }
  std::string token_name(std::int32_t) const override { return ""; }
  std::string token_bytes(std::int32_t) const override { return ""; }
  std::string decode(std::span<const std::int32_t>) const override { return ""; }
  std::int64_t vocab_size() const override { return 260; }
  const char* type() const override { return "pair"; }
};

constexpr std::int32_t kBos = 257, kEos = 258;

ModelConfig config_of(bool add_bos) {
  ModelConfig config;
  config.vocab_size = 260;
  config.bos_token_id = kBos;
  config.eos_token_ids = {kEos};
  config.add_bos = add_bos;
  return config;
}

ScoringSequence cut(std::string_view context, std::string_view continuation, bool add_bos = false,
                    std::int64_t longest = 100) {
  const ModelConfig config = config_of(add_bos);
  return ScoringTexts(PairTokenizer(), config, longest).continuation(context, continuation);
}

TEST(ScoringTexts, BothAreTokenizedTogetherAndCutWhereTheContextAloneWouldEnd) {
  const ScoringSequence plain = cut("xy", "ab");
  EXPECT_EQ(plain.tokens, (Ids{'x', 'y', 256}));
  EXPECT_EQ(plain.first_scored, 2);
  const ScoringSequence merged = cut("xa", "bz");  // x ab | z: the context alone has two tokens
  EXPECT_EQ(merged.tokens, (Ids{'x', 256, 'z'}));
  EXPECT_EQ(merged.first_scored, 2);
  const ScoringSequence with_bos = cut("xa", "bz", true);
  EXPECT_EQ(with_bos.tokens, (Ids{kBos, 'x', 256, 'z'}));
  EXPECT_EQ(with_bos.first_scored, 3);
}

TEST(ScoringTexts, BlanksAtTheContextsEndMoveToTheContinuation) {
  const ScoringSequence moved = cut("x \n", "y");
  EXPECT_EQ(moved.tokens, (Ids{'x', ' ', '\n', 'y'}));
  EXPECT_EQ(moved.first_scored, 1);
  EXPECT_EQ(trailing_blanks("a \t\n"), 3U);
  EXPECT_EQ(trailing_blanks("a\xC2\xA0\xE3\x80\x80"), 5U);  // no-break space, ideographic space
  EXPECT_EQ(trailing_blanks("a\xC2\xA1"), 0U);
  EXPECT_EQ(trailing_blanks("\xE2\x80\x8A"), 3U);   // hair space
  EXPECT_EQ(trailing_blanks("a\xE2\x80\x8B"), 0U);  // zero width space is none
  EXPECT_EQ(trailing_blanks("a\x80 "), 1U);
  EXPECT_EQ(trailing_blanks("\x80"), 0U);
  EXPECT_EQ(trailing_blanks(""), 0U);
}

TEST(ScoringTexts, AnEmptyContextIsTheBeginningOfText) {
  for (const bool add_bos : {false, true}) {
    const ScoringSequence sequence = cut("", "xy", add_bos);
    EXPECT_EQ(sequence.tokens, (Ids{kBos, 'x', 'y'}));
    EXPECT_EQ(sequence.first_scored, 1);
  }
  ModelConfig config = config_of(false);
  config.bos_token_id.reset();
  EXPECT_EQ(ScoringTexts(PairTokenizer(), config, 9).continuation("", "x").tokens, (Ids{kEos, 'x'}));
  config.eos_token_ids.clear();
  EXPECT_TRUE(
      has(message_of<InputError>([&] { ScoringTexts(PairTokenizer(), config, 9).continuation("", "x"); }),
          "neither a BOS nor an EOS"));
}

TEST(ScoringTexts, WhatIsTooLongLosesItsBeginning) {
  const ScoringSequence exact = cut("123456", "78", true, 8);  // BOS and 8 tokens: 8 rows
  EXPECT_EQ(exact.tokens.front(), kBos);
  const ScoringSequence shorter = cut("123456", "78", true, 5);
  EXPECT_EQ(shorter.tokens, (Ids{'3', '4', '5', '6', '7', '8'}));
  EXPECT_EQ(shorter.first_scored, 4);
  EXPECT_EQ(cut("123456", "78", true, 2).first_scored, 1);
}

TEST(ScoringTexts, NothingToScoreAndTooMuch) {
  EXPECT_TRUE(has(message_of<InputError>([] { cut("xa", "b"); }), "adds no token"));
  EXPECT_TRUE(has(message_of<InputError>([] { cut("x", ""); }), "adds no token"));
  EXPECT_TRUE(has(message_of<InputError>([] { cut("", ""); }), "adds no token"));
  EXPECT_TRUE(has(message_of<InputError>([] { cut(" ", "x"); }), "context has no tokens"));
  EXPECT_TRUE(has(message_of<InputError>([] { cut("x", "123", false, 2); }), "3 tokens"));
}

TEST(ScoringTexts, AWholeTextInWindowsThatPredictEveryTokenOnce) {
  const ModelConfig config = config_of(true);
  const PairTokenizer tokenizer;
  const ScoringTexts texts(tokenizer, config, 4);
  EXPECT_TRUE(texts.whole("").empty());
  const auto windows = texts.whole("0123456789");
  ASSERT_EQ(windows.size(), 3U);
  EXPECT_EQ(windows[0].tokens, (Ids{kBos, '0', '1', '2', '3'}));
  EXPECT_EQ(windows[0].first_scored, 1);
  EXPECT_EQ(windows[1].tokens, (Ids{'3', '4', '5', '6', '7'}));
  EXPECT_EQ(windows[1].first_scored, 1);
  EXPECT_EQ(windows[2].tokens, (Ids{'5', '6', '7', '8', '9'}));
  EXPECT_EQ(windows[2].first_scored, 3);
  EXPECT_EQ(texts.whole("012").front().tokens, (Ids{kBos, '0', '1', '2'}));
}

ScoringSequence sequence(Ids tokens, std::int64_t first_scored) {
  return {std::move(tokens), first_scored, 0};
}

std::vector<std::int64_t> shared(std::vector<ScoringSequence> sequences, std::int64_t chunk = 64,
                                 std::optional<std::int64_t> window = {}) {
  ModelConfig config;
  config.sections.cross_attention.window = window;
  share_beginnings(sequences, config, chunk);
  std::vector<std::int64_t> rows;
  for (const ScoringSequence& each : sequences) rows.push_back(each.shared);
  return rows;
}

TEST(ShareBeginnings, RowsWithTheSameInputAndTarget) {
  // Rows 0 to 3 have the same input and the same target; row 4 has another target.
  EXPECT_EQ(shared({sequence({1, 2, 3, 4, 5, 6}, 4), sequence({1, 2, 3, 4, 5, 7}, 4)}),
            (std::vector<std::int64_t>{0, 4}));
  EXPECT_EQ(shared({sequence({1, 2, 3, 4, 5, 6}, 5), sequence({1, 2, 3, 4, 5, 6}, 5)}),
            (std::vector<std::int64_t>{0, 5}));
  // Too little to share; and nothing at all.
  EXPECT_EQ(shared({sequence({1, 2, 3, 4, 6}, 1), sequence({1, 2, 3, 4, 7}, 1)}),
            (std::vector<std::int64_t>{0, 0}));
  EXPECT_EQ(shared({sequence({1, 2}, 1), sequence({3, 4}, 1)}), (std::vector<std::int64_t>{0, 0}));
}

TEST(ShareBeginnings, ScoresThatTheNeighbourDoesNotHaveAreComputed) {
  const Ids tokens = {1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(shared({sequence(tokens, 7), sequence(tokens, 6)}), (std::vector<std::int64_t>{0, 5}));
  EXPECT_EQ(shared({sequence(tokens, 6), sequence(tokens, 7)}), (std::vector<std::int64_t>{0, 7}));
}

TEST(ShareBeginnings, NotWhereAWindowsMemoryIsTornByTheOneInFront) {
  Ids front(20, 1), behind(20, 1);
  behind[10] = 2;  // rows 0 to 8 are common: the one in front went 10 rows further
  const std::vector<ScoringSequence> both = {sequence(front, 19), sequence(behind, 19)};
  EXPECT_EQ(shared(both, 9), (std::vector<std::int64_t>{0, 9}));
  EXPECT_EQ(shared(both, 10, 4), (std::vector<std::int64_t>{0, 9}));
  EXPECT_EQ(shared(both, 9, 4), (std::vector<std::int64_t>{0, 0}));
}

TEST(ShareBeginnings, AChainEndsSoThatOtherReplicasHaveWork) {
  std::vector<ScoringSequence> many;
  for (std::int32_t i = 0; i < 100; ++i) many.push_back(sequence({1, 2, 3, 4, 5, 6, i}, 6));
  EXPECT_EQ(std::ranges::count(shared(many), 0), 4);
}

}  // namespace
}  // namespace stagformer::internal::test
