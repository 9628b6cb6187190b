#include "cli/generate_settings.hpp"

#include "stagformer/error.hpp"
#include "text/penalties.hpp"

namespace stagformer::internal {
namespace {

constexpr std::int64_t kDefaultMaxTokens = 128;
constexpr std::int64_t kMostDraft = 256;
constexpr std::int64_t kMostTop = 1024;
constexpr double kMostHours = 1e6;

}  // namespace

void GenerateSettings::visit(SettingsVisitor& v) {
  v.text("prompt", prompt, "Text to go on from");
  v.text("prompts", prompts, "JSONL file, one object a line: id, prompt, and any of the sampling fields");
  v.text("output", output, "Write results here as JSONL; the same command started again resumes");
  v.integer("max-tokens", max_tokens, 1, kAnyInteger,
            "Tokens to generate (default: 128, or what the context has room for)");
  sampling.visit(v);
  v.list("stop", stop, "End before this text (repeatable)");
  v.flag("ignore-eos", ignore_eos, "Go on after the end-of-text token");
  v.flag("token-ids", token_ids, "Print the generated ids, separated by blanks, in place of the text");
  v.flag("log-probabilities", log_probabilities, "Add each token's log-probability to the results");
  v.integer("top-log-probabilities", top_log_probabilities, 0, kMostTop,
            "Add the N likeliest tokens at every position to the results");
  v.flag("chat", chat, "Prompts are a user's messages, written out by the model's chat template");
  v.text("system", system, "With --chat: the system's message in front");
  v.text("chat-template", chat_template, "Jinja file in place of the checkpoint's chat template");
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
  if (draft > 0 && has_penalties(sampling.params()))
    throw UsageError("--draft and penalties on repeated tokens exclude each other");
  if (system && !chat) throw UsageError("--system goes with --chat");
  if (chat_template && !chat && prompt) throw UsageError("--chat-template goes with --chat or --prompts");
  for (const std::string& text : stop)
    if (text.empty()) throw UsageError("--stop must not be empty");
  check_sampling(defaults().sampling);
  run.check();
}

GenerationRequest GenerateSettings::defaults() const {
  GenerationRequest request;
  request.sampling = sampling.params();
  request.max_tokens = max_tokens.value_or(-kDefaultMaxTokens);
  request.stop = stop;
  request.ignore_eos = ignore_eos;
  request.log_probabilities = log_probabilities;
  request.top_log_probabilities = static_cast<int>(top_log_probabilities);
  return request;
}

}  // namespace stagformer::internal
