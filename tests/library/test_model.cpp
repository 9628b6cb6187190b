// stagformer::Model in one process, through the public headers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <memory>
#include <thread>

#include "library/model_calls.hpp"
#include "stagformer/error.hpp"
#include "support/refusal.hpp"

namespace stagformer::test {
namespace {

using internal::test::has;
using internal::test::message_of;

LoadOptions small(int batch = 1) {
  return {.threads = 1, .batch = batch};
}

TEST(Model, GivesTheSameInEveryBatch) {
  Model one(golden("separate2"), small(1)), three(golden("separate2"), small(3));
  const std::vector<Generation> alone = one.generate_all(mixed_prompts());
  const std::vector<Generation> together = three.generate_all(mixed_prompts());
  ASSERT_EQ(alone.size(), 7U);
  for (std::size_t i = 0; i < alone.size(); ++i) {
    EXPECT_EQ(alone[i].token_ids, together[i].token_ids) << i;
    EXPECT_EQ(alone[i].log_probabilities, together[i].log_probabilities) << i;
    EXPECT_EQ(alone[i].log_probabilities.size(), alone[i].token_ids.size()) << i;
    EXPECT_EQ(static_cast<std::int64_t>(alone[i].token_ids.size()), mixed_prompts()[i].options.max_tokens);
    EXPECT_EQ(alone[i].finish_reason, "length");
  }
  // Place 0 is what a single prompt has; the same sampled prompt at another place has other random numbers.
  const Prompt sampled = mixed_prompts()[1];
  const std::vector<Prompt> twice = {sampled, sampled};
  const std::vector<Generation> pair = one.generate_all(twice);
  EXPECT_EQ(pair[0].token_ids, one.generate(sampled).token_ids);
  EXPECT_NE(pair[0].token_ids, pair[1].token_ids);
}

TEST(Model, SeveralLiveSideBySideAndEndInAnyOrder) {
  auto first = std::make_unique<Model>(golden("separate2"), small());
  auto second = std::make_unique<Model>(golden("sections4"), small());
  auto third = std::make_unique<Model>(golden("separate2"), small());
  const auto of_first = mixed_ids(*first), of_second = mixed_ids(*second);
  EXPECT_NE(of_first, of_second);
  first.reset();
  EXPECT_EQ(mixed_ids(*third), of_first);
  EXPECT_EQ(mixed_ids(*second), of_second);
  third.reset();
  EXPECT_EQ(mixed_ids(*second), of_second);
  Model moved = std::move(*second);
  EXPECT_EQ(mixed_ids(moved), of_second);
}

TEST(Model, StreamsTheTextOfEveryPrompt) {
  Model model(golden("separate2"), small(2));
  std::vector<std::string> streamed(7);
  const std::vector<Generation> all = model.generate_all(
      mixed_prompts(), [&](std::size_t prompt, const std::string& text) { streamed.at(prompt) += text; });
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(streamed[i], all[i].text) << i;
}

struct Enough {};

TEST(Model, WhatTheCallbackThrowsComesBackAndTheModelGoesOn) {
  Model model(golden("separate2"), small());
  const auto before = mixed_ids(model);
  for (int last = 0; last < 4; ++last) {
    int texts = 0;
    const auto stop = [&](const std::string&) {
      if (texts++ == last) throw Enough();
    };
    EXPECT_THROW(model.generate("a text", {.max_tokens = 20}, stop), Enough);
    EXPECT_EQ(texts, last + 1) << "called again after it threw";
    EXPECT_EQ(mixed_ids(model), before);
  }
}

TEST(Model, LeavesSignalsToTheProgram) {
  const auto handlers = [] {
    std::vector<void (*)(int)> found;
    for (int signal = 1; signal < SIGRTMIN; ++signal) {
      struct sigaction action {};
      if (sigaction(signal, nullptr, &action) == 0) found.push_back(action.sa_handler);
    }
    return found;
  };
  const auto before = handlers();
  Model model(golden("separate2"), small());
  model.generate("a", {.max_tokens = 3});
  EXPECT_EQ(handlers(), before);
}

TEST(Model, DoesOneCallAtATime) {
  Model model(golden("separate2"), small());
  const auto call_inside = [&](const std::string&) { model.score("x"); };
  EXPECT_TRUE(has(message_of<UsageError>([&] { model.generate("a", {.max_tokens = 3}, call_inside); }),
                  "another call of this model is running"));
  EXPECT_EQ(model.generate("a", {.max_tokens = 3}).token_ids.size(), 3U);
}

TEST(Model, ModelsRunSideBySideInThreads) {
  Model first(golden("separate2"), small(2)), second(golden("format_q8_0"), small(2));
  const auto of_first = mixed_ids(first), of_second = mixed_ids(second);
  std::vector<std::vector<std::int32_t>> beside;
  std::thread other([&] {
    for (int i = 0; i < 3; ++i) beside = mixed_ids(first);
  });
  for (int i = 0; i < 3; ++i) EXPECT_EQ(mixed_ids(second), of_second);
  other.join();
  EXPECT_EQ(beside, of_first);
}

TEST(Model, ScoresWhatItGenerates) {
  Model model(golden("separate2"), small());
  int compared = 0;
  for (const std::string prefix : {"a", "some", "letters", "in a longer row of words"}) {
    GenerateOptions options{.max_tokens = 1, .log_probabilities = true};
    const Generation next = model.generate(prefix, options);
    if (next.token_ids[0] < 1 || next.token_ids[0] > 127) continue;  // no text of one byte
    const Scores scores = model.score(prefix + static_cast<char>(next.token_ids[0]));
    ASSERT_EQ(scores.log_probabilities.size(), prefix.size() + 1);
    EXPECT_EQ(scores.log_probabilities.back(), next.log_probabilities[0]);
    EXPECT_EQ(scores.token_ids.back(), next.token_ids[0]);
    ++compared;
  }
  EXPECT_GE(compared, 1);
}

TEST(Model, ScoresWindowsEachOnItsOwn) {
  Model model(golden("separate2"), small());
  const std::string text = "0123456789abcdefghij";
  const std::vector<std::string> pieces = {"0123456", "789abcd", "efghij"};  // 7 tokens and BOS
  std::vector<float> expected;
  for (const Scores& scores : model.score_all(pieces))
    expected.insert(expected.end(), scores.log_probabilities.begin(), scores.log_probabilities.end());
  EXPECT_EQ(model.score(text, 8).log_probabilities, expected);
  EXPECT_NE(model.score(text).log_probabilities, expected);
  for (const float value : expected) EXPECT_LT(value, 0);
  EXPECT_TRUE(model.score_all({}).empty());
}

TEST(Model, TokensAndTextsAreEachOthersOpposite) {
  const Model model(golden("separate2"), small());
  const std::string text = "a b\xC3\xA9";
  EXPECT_EQ(model.tokenize(text).size(), 5U);
  EXPECT_EQ(model.detokenize(model.tokenize(text)), text);
  const std::vector<std::int32_t> half = {0xC3}, outside = {0, 272};
  EXPECT_EQ(model.detokenize(half), "\xEF\xBF\xBD");
  EXPECT_TRUE(has(message_of<InputError>([&] { (void)model.detokenize(outside); }), "272"));
}

TEST(Model, TakesTokenIdsInPlaceOfText) {
  Model model(golden("separate2"), small());
  Prompt prompt{.text = "", .token_ids = model.tokenize("hello"), .options = {.max_tokens = 6}};
  const Generation without_bos = model.generate(prompt);
  prompt.token_ids.insert(prompt.token_ids.begin(), 256);
  EXPECT_EQ(model.generate(prompt).token_ids, model.generate("hello", {.max_tokens = 6}).token_ids);
  EXPECT_NE(model.generate(prompt).token_ids, without_bos.token_ids);
}

TEST(Model, GeneratesAsMuchAsFitsByDefault) {
  Model model(golden("separate2"), small());
  EXPECT_EQ(model.context(), 64);
  EXPECT_EQ(model.generate("12345").token_ids.size(), 64U - 6U);
}

TEST(Model, LoadingRefuses) {
  const auto load = [](const std::string& name, const LoadOptions& options) {
    return [=] { Model(golden(name), options); };
  };
  EXPECT_TRUE(has(message_of<CheckpointError>(load("none", {})), "none.h5"));
  EXPECT_TRUE(
      has(message_of<InputError>(load("separate2", {.context = 65})), "65 is more than the model's 64"));
  EXPECT_TRUE(
      has(message_of<UsageError>(load("separate2", {.batch = 0})), "batch must be at least 1, found 0"));
  EXPECT_TRUE(has(message_of<UsageError>(load("separate2", {.threads = -1})), "threads"));
  EXPECT_TRUE(has(message_of<ConfigError>(load("mixed4", {.draft = 2})), "chained"));
  EXPECT_TRUE(has(message_of<MemoryError>(load("separate2", {.memory_limit = 1000})), "memory_limit allows"));
}

TEST(Model, CallsRefuseAndTheModelGoesOn) {
  Model model(golden("separate2"), small());
  const auto before = mixed_ids(model);
  const auto generate = [&](const GenerateOptions& options, const std::string& text = "a") {
    return [&model, options, text] { model.generate(text, options); };
  };
  EXPECT_TRUE(has(message_of<InputError>(generate({.max_tokens = 63})),
                  "2 tokens and 63 to generate do not fit the context of 64"));
  EXPECT_TRUE(has(message_of<InputError>(generate({}, std::string(64, 'x'))), "65 tokens"));
  EXPECT_TRUE(has(message_of<UsageError>(generate({.max_tokens = -1})), "max_tokens"));
  EXPECT_TRUE(has(message_of<UsageError>(generate({.temperature = -1})), "temperature"));
  EXPECT_TRUE(has(message_of<UsageError>(generate({.stop = {""}})), "stop"));
  EXPECT_TRUE(has(message_of<UsageError>(generate({.frequency_penalty = 101})), "frequency_penalty"));
  Model drafting(golden("shared2"), {.threads = 1, .draft = 2});
  EXPECT_TRUE(has(message_of<UsageError>([&] { drafting.generate("a", {.presence_penalty = 1}); }),
                  "exclude each other"));
  std::vector<Prompt> prompts = mixed_prompts();
  prompts[3].token_ids = {4, 300};
  EXPECT_TRUE(has(message_of<InputError>([&] { model.generate_all(prompts); }), "prompt 3: token id 300"));
  EXPECT_TRUE(has(message_of<InputError>([&] { model.score(""); }), "no tokens"));
  EXPECT_TRUE(has(message_of<UsageError>([&] { model.score("abc", 1); }), "found 1"));
  EXPECT_TRUE(has(message_of<UsageError>([&] { model.score("abc", 65); }), "found 65"));
  EXPECT_EQ(mixed_ids(model), before);
}

}  // namespace
}  // namespace stagformer::test
