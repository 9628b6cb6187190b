#include "cli/generate_settings.hpp"

#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

constexpr std::int64_t kDefaultMaxTokens = 128;
constexpr std::int64_t kMostDraft = 256;
constexpr double kMostHours = 1e6;

}  // namespace

void GenerateSettings::visit(SettingsVisitor& v) {
  v.text("prompt", prompt, "Text to go on from");
  v.text("prompts", prompts, "JSONL file, one object a line: id, prompt, and any of the sampling fields");
  v.text("output", output, "Write results here as JSONL; the same command started again resumes");
  v.integer("max-tokens", max_tokens, 1, kAnyInteger,
            "Tokens to generate (default: 128, or what the context has room for)");
  v.number("temperature", temperature, 0, 1000, "0 = greedy, the likeliest token");
  v.integer("top-k", top_k, 0, kAnyInteger, "Sample from the k likeliest tokens; 0 = all");
  v.number("top-p", top_p, 0, 1, "Sample from the smallest set of tokens with this probability");
  v.number("min-p", min_p, 0, 1, "Sample from tokens at least this times as likely as the likeliest");
  v.integer("seed", seed, 0, kAnyInteger, "Seed of the random numbers");
  v.list("stop", stop, "End before this text (repeatable)");
  v.flag("ignore-eos", ignore_eos, "Go on after the end-of-text token");
  v.flag("token-ids", token_ids, "Print the generated ids, separated by blanks, in place of the text");
  v.flag("log-probabilities", log_probabilities, "Add each token's log-probability to the results");
  v.integer("draft", draft, 0, kMostDraft,
            "Tokens that the last section guesses ahead, checked in one pass; the text stays the same");
  v.number("max-hours", max_hours, 0, kMostHours,
           "With --prompts: stop in order after so many hours, 0.5 for half of one; 0 = no limit");
  v.flag("no-prefix-sharing", no_prefix_sharing, "Compute prompts whole, even where they begin as others");
  run.visit(v);
}

void GenerateSettings::check() const {
  if (prompt.has_value() == prompts.has_value())
    throw UsageError(prompt ? "--prompt and --prompts exclude each other"
                            : "--prompt or --prompts is required");
  if (token_ids && prompts) throw UsageError("--token-ids goes with --prompt, results hold the ids anyway");
  if (max_hours > 0 && prompt) throw UsageError("--max-hours goes with --prompts");
  if (draft > 0 && run.decode == "recurrent")
    throw UsageError("--draft goes with --decode exact: recurrent decoding is what drafts with");
  if (draft > 0 && run.head == "sliced")
    throw UsageError("--draft needs the whole head where the last section is: --head last");
  for (const std::string& text : stop)
    if (text.empty()) throw UsageError("--stop must not be empty");
  check_sampling(defaults().sampling);
  run.check();
}

GenerationRequest GenerateSettings::defaults() const {
  GenerationRequest request;
  request.sampling = {static_cast<float>(temperature), top_k, static_cast<float>(top_p),
                      static_cast<float>(min_p), static_cast<std::uint64_t>(seed)};
  request.max_tokens = max_tokens.value_or(-kDefaultMaxTokens);
  request.stop = stop;
  request.ignore_eos = ignore_eos;
  request.log_probabilities = log_probabilities;
  return request;
}

}  // namespace stagformer::internal
