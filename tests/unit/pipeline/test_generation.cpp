// Generation: greedy text equals the reference's, in every batch; sequences end for the right reason.
#include "pipeline/generation.hpp"

#include <gtest/gtest.h>

#include <map>

#include "checkpoint/tensor_reader.hpp"
#include "kernels/kernels.hpp"
#include "support/golden_file.hpp"
#include "support/rank_world.hpp"

namespace stagformer::test {
namespace {

using namespace internal;

struct Setting {
  int ranks = 1;
  int slots = 1;
  std::int64_t chunk = 64;
  HeadMode head = HeadMode::sliced;
  int stop_at_step = -1;  ///< the last rank asks to stop there
  int threads = 1;
  int draft = 0;
  DecodeMode decode = DecodeMode::exact;
  std::int64_t window =
      0;  ///< > 0: in place of the model's, with a context that is long enough to wrap round
  std::size_t at_start = 1000;  ///< requests that are there from the start; a source brings the others
  bool source_stops = false;    ///< in place of bringing them
  bool share_prefixes = true;
  CacheFormat cache = CacheFormat::f32;
};

/// Brings a request at every other call, or at once to an idle replica, as every rank's own copy does.
class Trickle final : public RequestSource {
 public:
  Trickle(std::vector<GenerationRequest> requests, bool stops) : left_(std::move(requests)), stops_(stops) {}

  Supply take(std::size_t free, bool idle) override {
    EXPECT_GT(free, 0U);
    EXPECT_FALSE(ended_) << "asked again after the end";
    Supply supply;
    if (stops_) return supply.stop = idle, supply;
    if (!left_.empty() && (idle || ++calls_ % 2 == 0)) {
      supply.requests.push_back(left_.front());
      left_.erase(left_.begin());
    }
    ended_ = left_.empty();
    supply.more = !ended_;
    return supply;
  }

 private:
  std::vector<GenerationRequest> left_;
  bool stops_, ended_ = false;
  int calls_ = 0;
};

struct Outcome {
  std::map<std::int64_t, GenerationResult> results;
  std::string shown;  ///< what on_text gave, of sequence 0
  bool finished = true;
  GenerationTimes times;
};

Outcome generate(const std::string& name, const std::vector<GenerationRequest>& requests,
                 const Setting& setting) {
  CheckpointIndex index = read_checkpoint_index(golden_checkpoint(name));
  if (setting.window > 0) {
    index.config.sections.cross_attention.window = setting.window;
    index.config.max_position_embeddings = 4 * setting.window;
  }
  Outcome outcome;
  for_each_rank(setting.ranks, [&](Transport& transport) {
    transport.set_yield(true);
    const Grid grid = make_grid(setting.ranks, index.config.sections.count);
    EngineOptions options;
    options.slots = setting.slots;
    options.chunk = setting.chunk;
    options.head = setting.head;
    options.draft = setting.draft;
    options.decode = setting.decode;
    options.share_prefixes = setting.share_prefixes;
    options.cache_format = setting.cache;
    options.context = index.config.max_position_embeddings;
    const ThreadTeam team(setting.threads, 0, true);
    TensorReader reader(index, true);
    const RankModel model(index, rank_part(index.config, grid, transport.rank(), options.head), reader, team,
                          {});
    Engine engine(transport, grid, model, options, team, 0, 0);
    const auto tokenizer = make_tokenizer("byte", {});
    Outcome mine;
    int step = 0;
    Generator::Events events;
    events.on_text = [&](const GenerationRequest& request, const std::string& text,
                         std::span<const std::int32_t>) {
      if (request.index == 0) mine.shown += text;
    };
    events.on_result = [&](GenerationResult&& result) { mine.results[result.index] = std::move(result); };
    events.should_stop = [&] {
      return transport.rank() == transport.size() - 1 && setting.stop_at_step >= 0 &&
             step++ >= setting.stop_at_step;
    };
    Generator generator(engine, transport, index.config, *tokenizer, options, events);
    const auto first =
        requests.begin() + static_cast<std::ptrdiff_t>(std::min(setting.at_start, requests.size()));
    Trickle source({first, requests.end()}, setting.source_stops);
    mine.finished = generator.run({requests.begin(), first}, first == requests.end() ? nullptr : &source);
    mine.times = generator.times();
    transport.barrier();
    if (transport.rank() == 0) outcome = std::move(mine);
  });
  return outcome;
}

/// A request for each sequence of the golden file: its prompt, as many tokens as its greedy continuation has.
std::vector<GenerationRequest> golden_requests(const Golden& golden) {
  std::vector<GenerationRequest> requests;
  for (std::int64_t b = 0; b < golden.batch; ++b) {
    GenerationRequest request;
    request.index = b;
    const auto first = golden.tokens.begin() + static_cast<std::ptrdiff_t>(b * golden.length);
    request.prompt.assign(first, first + static_cast<std::ptrdiff_t>(golden.prompt_tokens));
    request.max_tokens = golden.greedy_length;
    request.ignore_eos = true;
    requests.push_back(request);
  }
  return requests;
}

std::vector<std::int32_t> golden_greedy(const Golden& golden, std::int64_t b) {
  const auto first = golden.greedy.begin() + static_cast<std::ptrdiff_t>(b * golden.greedy_length);
  return {first, first + static_cast<std::ptrdiff_t>(golden.greedy_length)};
}

TEST(Generation, GreedyTokensAreTheReferencesForEveryModelGridAndBatch) {
  use_activations(ActivationFormat::f32);  // what the reference computes with
  for (const std::string& name : golden_cases()) {
    const Golden golden = read_golden(name);
    if (golden.greedy.empty()) continue;
    const int sections = read_checkpoint_index(golden_checkpoint(name)).config.sections.count;
    for (const Setting& setting : {Setting{1, 1, 64}, Setting{1, 2, 3}, Setting{sections, 2, 1},
                                   Setting{sections, 1, 5, HeadMode::last}}) {
      const Outcome outcome = generate(name, golden_requests(golden), setting);
      for (std::int64_t b = 0; b < golden.batch; ++b) {
        EXPECT_EQ(outcome.results.at(b).token_ids, golden_greedy(golden, b))
            << name << ", sequence " << b << ", " << setting.ranks << " ranks, " << setting.slots << " slots";
        EXPECT_EQ(outcome.results.at(b).finish_reason, "length");
      }
    }
  }
  use_activations(ActivationFormat::int8);
}

/// Seven requests of different lengths, every other one sampled.
std::vector<GenerationRequest> uneven_requests(const Golden& golden) {
  std::vector<GenerationRequest> requests;
  for (std::int64_t i = 0; i < 7; ++i) {
    GenerationRequest request = golden_requests(golden)[static_cast<std::size_t>(i % golden.batch)];
    request.index = i;
    request.prompt.resize(static_cast<std::size_t>(2 + i % 5));
    request.max_tokens = 3 + 2 * i;
    request.sampling.temperature = i % 2 ? 0.8F : 0;
    request.sampling.seed = 11;
    requests.push_back(request);
  }
  return requests;
}

// Models whose sections share weights do a step of all their sections as one batch on one rank.
TEST(Generation, MoreSequencesThanSlotsChangeNothing) {
  for (const char* name : {"separate2", "shared3", "shared_mixed3", "shared4_linear", "shared_window4"}) {
    const std::vector<GenerationRequest> requests = uneven_requests(read_golden(name));
    const int sections = read_checkpoint_index(golden_checkpoint(name)).config.sections.count;
    const Outcome one = generate(name, requests, {sections, 1, 64});
    EXPECT_EQ(one.results.size(), requests.size());
    for (const Setting& setting :
         {Setting{1, 1, 64}, Setting{1, 3, 2}, Setting{1, 5, 7, HeadMode::sliced, -1, 3},
          Setting{sections, 7, 64}, Setting{sections, 2, 1, HeadMode::last}})
      for (const auto& [index, result] : generate(name, requests, setting).results) {
        EXPECT_EQ(result.token_ids, one.results.at(index).token_ids)
            << name << ", sequence " << index << ", " << setting.ranks << " ranks, " << setting.slots
            << " slots, " << setting.threads << " threads";
        EXPECT_EQ(result.text, one.results.at(index).text);
      }
  }
}

TEST(Generation, RequestsThatComeLaterChangeNothing) {
  for (const char* name : {"separate2", "shared3"}) {
    const std::vector<GenerationRequest> requests = uneven_requests(read_golden(name));
    const int sections = read_checkpoint_index(golden_checkpoint(name)).config.sections.count;
    const Outcome whole = generate(name, requests, {.slots = 2});
    for (const Setting& setting : {Setting{.slots = 2, .at_start = 0}, Setting{.slots = 3, .at_start = 2},
                                   Setting{.ranks = sections, .slots = 2, .chunk = 1, .at_start = 3},
                                   Setting{.slots = 3, .draft = 2, .at_start = 1}}) {
      const Outcome trickled = generate(name, requests, setting);
      ASSERT_EQ(trickled.results.size(), requests.size());
      EXPECT_TRUE(trickled.finished);
      for (const auto& [index, result] : trickled.results)
        EXPECT_EQ(result.token_ids, whole.results.at(index).token_ids) << name << ", sequence " << index;
    }
  }
}

TEST(Generation, ASourceThatStopsEndsTheRunOnceWhatRunsIsThrough) {
  const std::vector<GenerationRequest> requests = uneven_requests(read_golden("separate2"));
  const Outcome outcome =
      generate("separate2", requests, {.ranks = 2, .slots = 3, .at_start = 2, .source_stops = true});
  EXPECT_FALSE(outcome.finished);
  EXPECT_EQ(outcome.results.size(), 2U);
}

const std::vector<std::string>& draft_models() {
  static const std::vector<std::string> models = {"separate2",      "shared2",        "shared3",
                                                  "shared_window1", "shared_window4", "window_small",
                                                  "sections4",      "format_q4_1",    "no_memory_norm"};
  return models;
}

TEST(Drafting, ChangesNoTokenOnAnyGridInAnyBatchGreedyOrSampled) {
  for (const std::string& name : draft_models()) {
    const std::vector<GenerationRequest> requests = uneven_requests(read_golden(name));
    const int sections = read_checkpoint_index(golden_checkpoint(name)).config.sections.count;
    const Outcome plain = generate(name, requests, {});
    for (const Setting& setting : {Setting{.draft = 1}, Setting{.slots = 3, .chunk = 2, .draft = 3},
                                   Setting{.slots = 5, .chunk = 7, .threads = 3, .draft = 16},
                                   Setting{.ranks = sections, .head = HeadMode::last, .draft = 2},
                                   Setting{sections, 7, 64, HeadMode::last, -1, 1, 5}}) {
      const Outcome drafted = generate(name, requests, setting);
      ASSERT_EQ(drafted.results.size(), requests.size());
      for (const auto& [index, result] : drafted.results) {
        EXPECT_EQ(result.token_ids, plain.results.at(index).token_ids)
            << name << ", sequence " << index << ", " << setting.ranks << " ranks, " << setting.slots
            << " slots, " << setting.draft << " guesses";
        EXPECT_EQ(result.text, plain.results.at(index).text);
      }
      EXPECT_GT(drafted.times.drafted_tokens, 0);
      EXPECT_LT(drafted.times.steps, plain.times.steps);
    }
  }
}

// Wrong guesses have been stored behind the window's end: they must not have taken the place of its
// beginning.
TEST(Drafting, AMemoryThatWrapsRoundKeepsItsWindow) {
  GenerationRequest request = golden_requests(read_golden("shared_window4"))[0];
  request.max_tokens = 180;
  const Setting plain{.window = 60};
  const auto expected = generate("shared_window4", {request}, plain).results.at(0).token_ids;
  ASSERT_EQ(expected.size(), 180U);
  for (const int draft : {3, 10}) {
    Setting setting = plain;
    setting.draft = draft;
    setting.chunk = 1;
    EXPECT_EQ(generate("shared_window4", {request}, setting).results.at(0).token_ids, expected) << draft;
  }
}

// The last section does not see what the others make of the newest token: its first guess is the exact
// choice.
TEST(Drafting, TheFirstGuessIsAlwaysRightAndLaterOnesAreNot) {
  for (const std::string& name : draft_models()) {
    const std::vector<GenerationRequest> requests = uneven_requests(read_golden(name));
    const GenerationTimes one = generate(name, requests, {.slots = 2, .draft = 1}).times;
    EXPECT_EQ(one.accepted_tokens, one.drafted_tokens) << name;
  }
  const GenerationTimes many =
      generate("shared2", uneven_requests(read_golden("shared2")), {.draft = 8}).times;
  EXPECT_GT(many.accepted_tokens, many.sequence_steps / 2);
  EXPECT_LT(many.accepted_tokens, many.drafted_tokens);
}

// Right after the prompt the guesses are what recurrent decoding gives: the same passes, the same random
// numbers.
TEST(Drafting, GuessesAreTheTokensOfRecurrentDecoding) {
  constexpr int kGuesses = 6;
  for (const float temperature : {0.0F, 0.9F}) {
    GenerationRequest request = golden_requests(read_golden("shared2"))[0];
    request.sampling = {.temperature = temperature, .seed = 5};
    request.max_tokens = kGuesses + 1;
    const auto recurrent =
        generate("shared2", {request}, {.decode = DecodeMode::recurrent}).results.at(0).token_ids;
    const CheckpointIndex index = read_checkpoint_index(golden_checkpoint("shared2"));
    for_each_rank(1, [&](Transport& transport) {
      EngineOptions options;
      options.draft = kGuesses;
      options.context = index.config.max_position_embeddings;
      const ThreadTeam team(1);
      const Grid grid = make_grid(1, index.config.sections.count);
      TensorReader reader(index, true);
      const RankModel model(index, rank_part(index.config, grid, 0, HeadMode::sliced), reader, team, {});
      Engine engine(transport, grid, model, options, team, 0, 0);
      std::vector<Row> rows;
      for (std::size_t t = 0; t < request.prompt.size(); ++t)
        rows.push_back({0, static_cast<std::int64_t>(t)});
      engine.run_sections({rows, request.prompt, {}, PassKind::exact});
      Drafter drafter(engine, transport, options);
      const auto length = static_cast<std::int64_t>(request.prompt.size());
      const SamplingKey key{5, 0, request.prompt.size() + 1};
      const DraftStart start{{0, length}, recurrent[0], request.sampling, key, kGuesses};
      const auto guesses = drafter.run({&start, 1});
      EXPECT_EQ(std::vector<std::int32_t>(guesses.begin(), guesses.end()),
                std::vector<std::int32_t>(recurrent.begin() + 1, recurrent.end()));
    });
  }
}

/// Six requests that begin alike for different lengths, the longest beginning last; every other one sampled,
/// every third one ends early and leaves its slot.
std::vector<GenerationRequest> alike_requests(const std::string& name, std::int64_t length) {
  const auto vocab = read_checkpoint_index(golden_checkpoint(name)).config.vocab_size;
  const auto token = [&](std::int64_t n) { return static_cast<std::int32_t>((7 * n * n + 3 * n) % vocab); };
  std::vector<GenerationRequest> requests;
  for (std::int64_t i = 0; i < 6; ++i) {
    GenerationRequest request;
    request.index = i;
    const std::int64_t alike = i == 0 ? length : length / 2 + i * length / 16;
    for (std::int64_t t = 0; t < alike; ++t) request.prompt.push_back(token(t));
    for (std::int64_t t = alike; t < length + i; ++t) request.prompt.push_back(token(100 * (i + 1) + t));
    request.max_tokens = i % 3 == 1 ? 2 : 9;
    request.sampling.temperature = i % 2 ? 0.8F : 0;
    request.sampling.seed = 11;
    request.ignore_eos = request.log_probabilities = true;
    requests.push_back(request);
  }
  return requests;
}

TEST(PrefixSharing, ChangesNoBitOfAnyModelGridOrBatch) {
  for (const std::string name : {"separate2", "shared3", "shared_mixed3", "shared4_linear", "shared_window1",
                                 "shared_window4", "window_small", "sections4", "format_q4_1"}) {
    const std::vector<GenerationRequest> requests = alike_requests(name, 22);
    const ModelConfig config = read_checkpoint_index(golden_checkpoint(name)).config;
    const int sections = config.sections.count;
    for (const Setting& setting :
         {Setting{.slots = 1}, Setting{.slots = 2, .chunk = 5}, Setting{.slots = 6, .chunk = 3, .threads = 3},
          Setting{.ranks = sections, .slots = 3, .chunk = 4},
          Setting{.ranks = sections, .slots = 2, .chunk = 1},
          Setting{.slots = 3, .decode = DecodeMode::recurrent}, Setting{.slots = 3, .at_start = 2},
          Setting{.slots = 2, .cache = CacheFormat::bf16}}) {
      if (setting.decode == DecodeMode::recurrent && !config.recurrent_refusal().empty()) continue;
      Setting whole = setting;
      whole.slots = 1;
      whole.share_prefixes = false;
      const Outcome expected = generate(name, requests, whole), shared = generate(name, requests, setting);
      EXPECT_EQ(expected.times.shared_prompt_tokens, 0);
      EXPECT_GE(shared.times.shared_prompt_tokens, 5 * 11) << name;
      EXPECT_EQ(shared.times.prompt_tokens + shared.times.shared_prompt_tokens, expected.times.prompt_tokens);
      ASSERT_EQ(shared.results.size(), requests.size());
      for (const auto& [index, result] : shared.results) {
        EXPECT_EQ(result.token_ids, expected.results.at(index).token_ids)
            << name << ", sequence " << index << ", " << setting.ranks << " ranks, " << setting.slots
            << " slots, chunks of " << setting.chunk;
        EXPECT_EQ(result.log_probabilities, expected.results.at(index).log_probabilities);
      }
    }
  }
}

TEST(PrefixSharing, GoesOnBehindWhatWasGenerated) {
  GenerationRequest first = alike_requests("separate2", 12)[0];
  const auto text = generate("separate2", {first}, {}).results.at(0).token_ids;
  GenerationRequest second = first;
  second.index = 1;
  second.prompt.insert(second.prompt.end(), text.begin(), text.end());
  second.prompt.push_back(5);
  // all but the last generated token, which no pass has seen
  const auto expected = static_cast<std::int64_t>(first.prompt.size() + text.size()) - 1;
  for (const int draft : {0, 3})
    EXPECT_EQ(generate("separate2", {first, second}, {.draft = draft}).times.shared_prompt_tokens, expected);
  // a recurrent step's caches are no prompt's
  EXPECT_EQ(
      generate("separate2", {first, second}, {.decode = DecodeMode::recurrent}).times.shared_prompt_tokens,
      static_cast<std::int64_t>(first.prompt.size()));
}

TEST(PrefixSharing, DraftsLeaveNothingBehind) {
  for (const char* name : {"separate2", "shared3", "window_small"}) {
    const std::vector<GenerationRequest> requests = alike_requests(name, 20);
    const Outcome expected = generate(name, requests, {.share_prefixes = false});
    for (const Setting& setting : {Setting{.slots = 2, .draft = 3}, Setting{.slots = 1, .draft = 5}}) {
      const Outcome shared = generate(name, requests, setting);
      EXPECT_GT(shared.times.shared_prompt_tokens, 0);
      for (const auto& [index, result] : shared.results)
        EXPECT_EQ(result.token_ids, expected.results.at(index).token_ids) << name << ", sequence " << index;
    }
  }
}

// A memory that has wrapped round has lost its beginning: only what ends near its newest position is shared.
TEST(PrefixSharing, KnowsWhatAWindowHasLost) {
  for (const std::int64_t length : {40, 150}) {
    std::vector<GenerationRequest> requests = alike_requests("shared_window4", length);
    for (GenerationRequest& request : requests) request.max_tokens = 30;
    const Setting whole{.window = 60, .share_prefixes = false};
    const Outcome expected = generate("shared_window4", requests, whole);
    for (const int slots : {1, 3}) {
      const Outcome shared = generate("shared_window4", requests, {.slots = slots, .chunk = 8, .window = 60});
      for (const auto& [index, result] : shared.results)
        EXPECT_EQ(result.log_probabilities, expected.results.at(index).log_probabilities) << index;
    }
  }
}

TEST(SlotContents, FindsTheLongestBeginningButLeavesTheLastToken) {
  SlotContents contents(3, 100, {100, 100});
  const std::vector<std::int32_t> tokens{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  contents.append(0, std::span(tokens).first(9));
  contents.append(2, tokens);
  EXPECT_EQ(contents.longest(tokens).slot, 2);
  EXPECT_EQ(contents.longest(tokens).positions, 11);
  EXPECT_EQ(contents.longest(std::span(tokens).first(9)).positions, 8);
  EXPECT_EQ(contents.longest(std::span(tokens).first(8)).positions, 0) << "not worth a copy";
  contents.copy({2, 10}, 1);
  EXPECT_EQ(contents.in_slot(1, tokens).positions, 10);
  contents.cut(2, 0);
  EXPECT_EQ(contents.longest(tokens).slot, 1);
}

TEST(SlotContents, AWindowHoldsItsBeginningUntilItIsWrittenOver) {
  // 20 places, of which a row looks at 12: what ends up to 8 positions behind the newest is whole
  SlotContents contents(1, 100, {20, 12});
  std::vector<std::int32_t> tokens(30);
  for (std::int32_t t = 0; t < 30; ++t) tokens[static_cast<std::size_t>(t)] = t;
  contents.append(0, std::span(tokens).first(20));
  EXPECT_EQ(contents.in_slot(0, std::span(tokens).first(11)).positions, 10);
  contents.append(0, std::span(tokens).subspan(20));
  EXPECT_EQ(contents.in_slot(0, std::span(tokens).first(22)).positions, 0);
  EXPECT_EQ(contents.in_slot(0, std::span(tokens).first(23)).positions, 22);
  contents.wrote(0, 31);
  EXPECT_EQ(contents.in_slot(0, std::span(tokens).first(23)).positions, 0);
}

TEST(Generation, EndsBeforeAStopStringAndShowsNothingOfIt) {
  const Golden golden = read_golden("separate2");
  std::vector<GenerationRequest> requests = {golden_requests(golden)[0]};
  const std::string whole = generate("separate2", requests, {}).results.at(0).text;
  ASSERT_GE(whole.size(), 12U);
  requests[0].stop = {"no such text", whole.substr(5, 4)};
  const std::size_t expected = whole.find(requests[0].stop[1]);
  const Outcome outcome = generate("separate2", requests, {});
  EXPECT_EQ(outcome.results.at(0).finish_reason, "stop");
  EXPECT_EQ(outcome.results.at(0).text, whole.substr(0, expected));
  EXPECT_EQ(outcome.shown, whole.substr(0, expected));
}

TEST(Generation, ARequestToStopReachesAllRanksInEitherHeadMode) {
  const Golden golden = read_golden("separate2");
  for (const HeadMode head : {HeadMode::sliced, HeadMode::last}) {
    const Outcome outcome = generate("separate2", golden_requests(golden), {2, 2, 64, head, 3});
    EXPECT_FALSE(outcome.finished);
    EXPECT_TRUE(outcome.results.empty());
  }
}

}  // namespace
}  // namespace stagformer::test
