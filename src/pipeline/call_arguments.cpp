#include "pipeline/call_arguments.hpp"

#include <algorithm>
#include <functional>
#include <limits>

#include "base/byte_string.hpp"
#include "stagformer/error.hpp"
#include "text/penalties.hpp"
#include "text/sampling.hpp"
#include "text/utf8.hpp"

namespace stagformer::internal {
namespace {

constexpr std::int64_t kDefaultMaxTokens = 128;

std::uint64_t digest_of(const ByteWriter& bytes) {
  return std::hash<std::string>{}(bytes.bytes());
}

std::string shown(const std::string& text) {
  constexpr std::size_t kMost = 40;
  return "'" + quotable(text.size() > kMost ? text.substr(0, kMost) + "..." : text) + "'";
}

void add(ByteWriter& bytes, const Prompt& prompt) {
  const GenerateOptions& o = prompt.options;
  bytes.add(prompt.text).add(prompt.token_ids).add(o.max_tokens).add(o.temperature).add(o.top_k);
  bytes.add(o.top_p).add(o.min_p).add(o.seed).add(o.repetition_penalty).add(o.presence_penalty);
  bytes.add(o.frequency_penalty).add(o.stop).add(o.ignore_eos).add(o.log_probabilities);
}

void check_range(bool good, const char* field, const char* range, const std::string& found) {
  if (!good) throw UsageError(std::string(field) + " must be " + range + ", found " + found);
}

std::vector<std::int32_t> prompt_tokens(const Prompt& prompt, const TextRules& rules) {
  std::vector<std::int32_t> tokens = prompt.token_ids;
  for (const std::int32_t id : tokens)
    if (id < 0 || id >= rules.config.vocab_size)
      throw InputError("token id " + std::to_string(id) + " is outside the model's vocabulary of " +
                       std::to_string(rules.config.vocab_size));
  if (!tokens.empty()) return tokens;
  tokens = rules.tokens_of(prompt.text);
  if (rules.bos() >= 0) tokens.insert(tokens.begin(), static_cast<std::int32_t>(rules.bos()));
  if (tokens.empty()) throw InputError("the prompt has no tokens");
  return tokens;
}

std::int64_t max_tokens(std::int64_t wanted, std::size_t prompt_size, std::int64_t context) {
  check_range(wanted >= 0, "max_tokens", "0 (default) or positive", std::to_string(wanted));
  const std::int64_t room = context - static_cast<std::int64_t>(prompt_size);
  const std::int64_t tokens =
      wanted > 0 ? wanted : std::clamp<std::int64_t>(room, std::int64_t{1}, kDefaultMaxTokens);
  if (tokens > room)
    throw InputError("a prompt of " + std::to_string(prompt_size) + " tokens and " + std::to_string(tokens) +
                     " to generate do not fit the context of " + std::to_string(context));
  return tokens;
}

GenerationRequest make_request(const Prompt& prompt, const TextRules& rules) {
  const GenerateOptions& wanted = prompt.options;
  GenerationRequest request;
  request.sampling.temperature = wanted.temperature;
  request.sampling.top_k = wanted.top_k;
  request.sampling.top_p = wanted.top_p;
  request.sampling.min_p = wanted.min_p;
  request.sampling.seed = wanted.seed;
  request.sampling.repetition_penalty = wanted.repetition_penalty;
  request.sampling.presence_penalty = wanted.presence_penalty;
  request.sampling.frequency_penalty = wanted.frequency_penalty;
  check_sampling(request.sampling);
  if (rules.drafts && has_penalties(request.sampling))
    throw UsageError("draft and penalties on repeated tokens exclude each other");
  for (const std::string& stop : wanted.stop)
    if (stop.empty()) throw UsageError("a stop string must not be empty");
  request.stop = wanted.stop;
  request.ignore_eos = wanted.ignore_eos;
  request.log_probabilities = wanted.log_probabilities;
  request.prompt = prompt_tokens(prompt, rules);
  request.max_tokens = max_tokens(wanted.max_tokens, request.prompt.size(), rules.context);
  return request;
}

}  // namespace

CallId id_of_generate(std::span<const Prompt> prompts) {
  ByteWriter bytes;
  bytes.add(std::string("generate")).add(prompts.size());
  for (const Prompt& prompt : prompts) add(bytes, prompt);
  std::string text = "generate of " + std::to_string(prompts.size()) + " prompt(s)";
  if (!prompts.empty()) text += ", the first " + shown(prompts[0].text);
  return {digest_of(bytes), text};
}

CallId id_of_score(std::span<const std::string> texts, std::int64_t window) {
  ByteWriter bytes;
  bytes.add(std::string("score")).add(window).add(texts.size());
  for (const std::string& text : texts) bytes.add(text);
  std::string text = "score of " + std::to_string(texts.size()) + " text(s)";
  if (!texts.empty()) text += ", the first " + shown(texts[0]);
  return {digest_of(bytes), text};
}

CallId id_of_load(const LoadOptions& o) {
  ByteWriter bytes;
  bytes.add(o.context).add(o.chunk).add(o.batch).add(o.draft);
  return {digest_of(bytes), "context " + std::to_string(o.context) + ", chunk " + std::to_string(o.chunk) +
                                ", batch " + std::to_string(o.batch) + ", draft " + std::to_string(o.draft)};
}

void check_load_options(const LoadOptions& o) {
  const auto check = [](std::int64_t value, std::int64_t least, const char* field, const char* range) {
    check_range(value >= least, field, range, std::to_string(value));
  };
  check(o.threads, 0, "threads", "0 (automatic) or positive");
  check(o.context, 0, "context", "0 (the model's) or positive");
  check(o.chunk, 1, "chunk", "at least 1");
  check(o.batch, 1, "batch", "at least 1");
  check(o.draft, 0, "draft", "0 (off) or positive");
  check(o.memory_limit, 0, "memory_limit", "0 (what is free) or positive");
}

std::vector<std::int32_t> TextRules::tokens_of(const std::string& text) const {
  std::vector<std::int32_t> tokens = tokenizer.encode(text);
  for (const std::int32_t id : tokens)
    if (id < 0 || id >= config.vocab_size)
      throw CheckpointError("the tokenizer gives id " + std::to_string(id) +
                            " but the model's vocabulary has " + std::to_string(config.vocab_size) +
                            " entries");
  return tokens;
}

std::vector<GenerationRequest> make_requests(std::span<const Prompt> prompts, const TextRules& rules) {
  std::vector<GenerationRequest> requests;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const std::string place = prompts.size() > 1 ? "prompt " + std::to_string(i) + ": " : "";
    try {
      requests.push_back(make_request(prompts[i], rules));
    } catch (const InputError& error) {
      throw InputError(place + error.what());
    } catch (const UsageError& error) {
      throw UsageError(place + error.what());
    }
    requests.back().index = static_cast<std::int64_t>(i);
  }
  return requests;
}

void ScoringWork::put(std::size_t window, const WindowScores& values) {
  const Place& place = places[window];
  std::ranges::copy(values,
                    scores[place.text].log_probabilities.begin() + static_cast<std::ptrdiff_t>(place.token));
}

ScoringWork make_windows(std::span<const std::string> texts, std::int64_t window, const TextRules& rules) {
  const std::int64_t length = window == 0 ? rules.context : window;
  if (length < 2 || length > rules.context)
    throw UsageError("a window must have 2 to " + std::to_string(rules.context) +
                     " tokens (the context), found " + std::to_string(length));
  const std::size_t unpredicted = rules.bos() >= 0 ? 0 : 1;  // a window's first token, where it is the text's
  const std::size_t step = static_cast<std::size_t>(length) - (1 - unpredicted);
  ScoringWork work;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    Scores& scores = work.scores.emplace_back();
    scores.token_ids = rules.tokens_of(texts[i]);
    if (scores.token_ids.empty())
      throw InputError((texts.size() > 1 ? "text " + std::to_string(i) : "the text") + " has no tokens");
    scores.log_probabilities.assign(scores.token_ids.size(), std::numeric_limits<float>::quiet_NaN());
    std::size_t at = unpredicted;
    for (Window& part : cut_windows(scores.token_ids, length, rules.bos())) {
      work.windows.push_back(std::move(part));
      work.places.push_back({i, at});
      at += step;
    }
  }
  return work;
}

}  // namespace stagformer::internal
