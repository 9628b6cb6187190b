#include "cli/eval_settings.hpp"

#include "stagformer/error.hpp"

namespace stagformer::internal {

void EvalSettings::visit(SettingsVisitor& v) {
  v.text("text", text, "UTF-8 text: its perplexity");
  v.text("pairs", pairs,
         "JSONL of minimal pairs (sentence_good, sentence_bad): how often the good one is likelier");
  v.text("choices", choices,
         "JSONL of questions (context, choices, label): how often the right one is likeliest");
  v.text("requests", requests,
         "JSONL of requests (id, and context with continuation, or text): their log-probabilities");
  v.integer("context", context, 2, kAnyInteger,
            "Most tokens that are looked at together (default: the model's context)");
  v.text("delimiter", delimiter,
         "What stands between context and choice, or before a sentence (default: a space)");
  v.text("output", output, "Results of --requests (default: stdout)");
  v.text("per-item", per_item, "JSONL file: a line a pair or question");
  v.text("per-token", per_token, "CSV file: position,token_id,log_probability of every token of --text");
  v.integer("recurrent-after", recurrent_after, 0, kAnyInteger,
            "With --decode recurrent: positions of a window that run all passes (default: 0)");
  run.visit(v);
}

void EvalSettings::check() const {
  if (text.has_value() + pairs.has_value() + choices.has_value() + requests.has_value() != 1)
    throw UsageError("one of --text, --pairs, --choices and --requests is required, and no two");
  if (per_token && !text) throw UsageError("--per-token goes with --text");
  if (per_item && !pairs && !choices) throw UsageError("--per-item goes with --pairs or --choices");
  if (delimiter && !pairs && !choices) throw UsageError("--delimiter goes with --pairs or --choices");
  if (output && !requests) throw UsageError("--output goes with --requests");
  if (recurrent_after && run.decode != "recurrent")
    throw UsageError("--recurrent-after goes with --decode recurrent");
  if (!text && run.decode == "recurrent")
    throw UsageError("--decode recurrent goes with --text: pairs, choices and requests run all passes");
  run.check();
}

std::int64_t EvalSettings::tokens_together(std::int64_t max_context) const {
  const std::int64_t tokens = context.value_or(max_context);
  if (tokens > max_context)
    throw InputError("--context " + std::to_string(tokens) + " is more than the model's context of " +
                     std::to_string(max_context));
  return tokens;
}

}  // namespace stagformer::internal
