// What the library makes of its callers' arguments.
#include "pipeline/call_arguments.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "base/byte_string.hpp"

namespace stagformer::internal::test {
namespace {

ModelConfig bytes_config(bool add_bos) {
  ModelConfig config;
  config.vocab_size = 272;
  config.max_position_embeddings = 4;
  config.bos_token_id = 256;
  config.add_bos = add_bos;
  return config;
}

/// Which tokens of "abcdefghi" windows of 4 tokens predict, and from what text.
std::string predicted(bool add_bos) {
  const ModelConfig config = bytes_config(add_bos);
  const auto tokenizer = make_tokenizer("byte", {});
  const std::vector<std::string> texts = {"abcdefghi"};
  ScoringWork work = make_windows(texts, 0, {config, *tokenizer, 4});
  for (std::size_t w = 0; w < work.windows.size(); ++w) {
    const Window& window = work.windows[w];
    WindowScores scores;
    for (std::size_t t = 1; t < window.size(); ++t) scores.push_back(static_cast<float>(window[t]));
    work.put(w, scores);
  }
  std::string text;
  for (std::size_t t = 0; t < work.scores[0].token_ids.size(); ++t) {
    const float score = work.scores[0].log_probabilities[t];
    text += std::isnan(score) ? '.' : static_cast<char>(score);
  }
  return text;
}

TEST(CallArguments, ScoresBelongToTheirTokens) {
  EXPECT_EQ(predicted(true), "abcdefghi");
  // Each window's first token has nothing before it; the last window is one token that predicts nothing.
  EXPECT_EQ(predicted(false), ".bcd.fgh.");
}

TEST(CallArguments, EveryArgumentTellsCallsApart) {
  const auto with = [](auto change) {
    std::vector<Prompt> prompts(1);
    prompts[0].text = "ab";
    change(prompts);
    return id_of_generate(prompts).digest;
  };
  const std::vector<std::uint64_t> digests = {with([](auto&) {}),
                                              with([](auto& p) { p[0].text = "ac"; }),
                                              with([](auto& p) { p[0].token_ids = {1}; }),
                                              with([](auto& p) { p[0].options.max_tokens = 1; }),
                                              with([](auto& p) { p[0].options.temperature = 1; }),
                                              with([](auto& p) { p[0].options.top_k = 1; }),
                                              with([](auto& p) { p[0].options.top_p = 0.5F; }),
                                              with([](auto& p) { p[0].options.min_p = 0.5F; }),
                                              with([](auto& p) { p[0].options.seed = 1; }),
                                              with([](auto& p) { p[0].options.repetition_penalty = 2; }),
                                              with([](auto& p) { p[0].options.presence_penalty = 1; }),
                                              with([](auto& p) { p[0].options.frequency_penalty = 1; }),
                                              with([](auto& p) { p[0].options.stop = {"x"}; }),
                                              with([](auto& p) {
                                                p[0].options.stop = {"x", ""};
                                              }),
                                              with([](auto& p) { p[0].options.ignore_eos = true; }),
                                              with([](auto& p) { p[0].options.log_probabilities = true; }),
                                              with([](auto& p) { p.resize(2); })};
  for (std::size_t i = 0; i < digests.size(); ++i)
    for (std::size_t k = 0; k < i; ++k) EXPECT_NE(digests[i], digests[k]) << i << " and " << k;
  const std::vector<std::string> one = {"ab", "c"}, other = {"a", "bc"};
  EXPECT_NE(id_of_score(one, 0).digest, id_of_score(other, 0).digest);
  EXPECT_NE(id_of_score(one, 0).digest, id_of_score(one, 8).digest);
}

TEST(ByteString, GivesBackWhatWasPutIn) {
  const std::vector<std::vector<float>> nested = {{1, 2}, {}, {3}};
  const std::string bytes = ByteWriter().add(7).add(std::string("a\0b", 3)).add(nested).add(true).bytes();
  ByteReader reader(bytes);
  std::string text;
  std::vector<std::vector<float>> values;
  EXPECT_EQ(reader.taken<int>(), 7);
  reader.take(text);
  EXPECT_EQ(text, std::string("a\0b", 3));
  reader.take(values);
  EXPECT_EQ(values, nested);
  EXPECT_FALSE(reader.at_end());
  EXPECT_TRUE(reader.taken<bool>());
  EXPECT_TRUE(reader.at_end());
}

}  // namespace
}  // namespace stagformer::internal::test
