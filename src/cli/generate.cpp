// stagformer generate: text from a prompt, or results for a file of prompts.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>

#include "base/check.hpp"
#include "cli/command.hpp"
#include "cli/files.hpp"
#include "cli/model_run.hpp"
#include "cli/prompts.hpp"
#include "cli/replica_reports.hpp"
#include "cli/report.hpp"
#include "cli/result_file.hpp"
#include "cli/signals.hpp"
#include "pipeline/agreement.hpp"
#include "pipeline/generation.hpp"

namespace stagformer::internal {
namespace {

using nlohmann::json;

constexpr std::int64_t kDefaultMaxTokens = 128;
constexpr std::int64_t kMostDraft = 256;

struct GenerateSettings {
  RunSettings run;
  std::optional<std::string> prompt, prompts, output;
  std::optional<std::int64_t> max_tokens;
  double temperature = 0;
  std::int64_t top_k = 0;
  double top_p = 1, min_p = 0;
  std::int64_t seed = 0;
  std::vector<std::string> stop;
  bool ignore_eos = false, token_ids = false, log_probabilities = false;
  std::int64_t draft = 0;

  void visit(SettingsVisitor& v) {
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
    run.visit(v);
  }
};

class GenerateCommand final : public Command {
 public:
  const char* name() const override { return "generate"; }
  const char* summary() const override { return "Generate text from a prompt, or from a file of prompts"; }
  void visit(SettingsVisitor& visitor) override { settings_.visit(visitor); }
  bool runs_a_model() const override { return true; }

  void check() const override {
    if (settings_.prompt.has_value() == settings_.prompts.has_value())
      throw UsageError(settings_.prompt ? "--prompt and --prompts exclude each other"
                                        : "--prompt or --prompts is required");
    if (settings_.token_ids && settings_.prompts)
      throw UsageError("--token-ids goes with --prompt, results hold the ids anyway");
    if (settings_.draft > 0 && settings_.run.decode == "recurrent")
      throw UsageError("--draft goes with --decode exact: recurrent decoding is what drafts with");
    if (settings_.draft > 0 && settings_.run.head == "sliced")
      throw UsageError("--draft needs the whole head where the last section is: --head last");
    for (const std::string& stop : settings_.stop)
      if (stop.empty()) throw UsageError("--stop must not be empty");
    check_sampling(defaults().sampling);
    settings_.run.check();
  }

  ExitCode run(const MpiSession* session, const std::string& command_line) override {
    ModelRun run(
        *session, settings_.run, [this](SettingsVisitor& v) { settings_.visit(v); }, command_line);
    run_ = &run;
    run.open();
    prepare();
    EngineOptions options = settings_.run.engine_options();
    options.slots = slots();
    options.context = context();
    options.draft = static_cast<int>(settings_.draft);
    run.load(options, false);
    const bool finished = generate();
    const double seconds = now_seconds() - start_s_;
    summarize(seconds);
    run.report(seconds, result_record());
    if (finished) return ExitCode::success;
    throw AgreedError(
        ExitCode::interrupted,
        "stopped by a signal" + std::string(settings_.output ? "; the same command goes on" : ""));
  }

 private:
  GenerationRequest defaults() const {
    GenerationRequest request;
    request.sampling = {static_cast<float>(settings_.temperature), settings_.top_k,
                        static_cast<float>(settings_.top_p), static_cast<float>(settings_.min_p),
                        static_cast<std::uint64_t>(settings_.seed)};
    request.max_tokens = settings_.max_tokens.value_or(-kDefaultMaxTokens);
    request.stop = settings_.stop;
    request.ignore_eos = settings_.ignore_eos;
    request.log_probabilities = settings_.log_probabilities;
    return request;
  }

  /// Rank 0 reads and tokenizes everything before the first token, takes out what an earlier run finished,
  /// and hands it round.
  void prepare() {
    std::string text;
    agree(run_->world(), [&] {
      const std::string refusal = settings_.draft > 0 ? run_->config().draft_refusal() : "";
      if (!refusal.empty()) throw ConfigError(refusal);
      if (!run_->is_root()) return;
      std::vector<Prompt> prompts = read();
      for (Prompt& prompt : prompts) prepare_prompt(prompt, run_->tokenizer(), run_->config());
      if (settings_.prompt && !prompts[0].refusal.empty()) throw InputError(prompts[0].refusal);
      open_output(prompts);
      text = to_json(prompts).dump(-1, ' ', false, json::error_handler_t::replace);
    });
    prompts_ = prompts_from(json::parse(to_text(run_->world().broadcast(to_bytes(text), 0))));
  }

  std::vector<Prompt> read() const {
    if (settings_.prompts) return read_prompts(*settings_.prompts, defaults());
    Prompt prompt;
    prompt.id = 1;
    prompt.text = *settings_.prompt;
    prompt.request = defaults();
    return {prompt};
  }

  void open_output(std::vector<Prompt>& prompts) {
    if (!settings_.output) return;
    const std::string content = to_json(prompts).dump(-1, ' ', false, json::error_handler_t::replace);
    const std::uint64_t digest =
        std::hash<std::string>{}(content + settings_.run.decode + std::to_string(run_->index().digest()));
    output_.emplace(*settings_.output, "stagformer results of run " + std::to_string(digest));
    const std::size_t all = prompts.size();
    std::erase_if(prompts, [&](const Prompt& p) { return output_->finished().contains(p.id.dump()); });
    if (prompts.size() < all)
      spdlog::info("{}: {} of {} results are there already", *settings_.output, all - prompts.size(), all);
  }

  bool is_mine(const Prompt& prompt) const {
    return prompt.refusal.empty() && prompt.request.index % run_->grid().replicas == run_->replica_number();
  }

  int slots() const {
    std::int64_t most = 1;
    std::vector<std::int64_t> counts(static_cast<std::size_t>(run_->grid().replicas));
    for (const Prompt& prompt : prompts_)
      most = std::max(most, ++counts[static_cast<std::size_t>(prompt.request.index % run_->grid().replicas)]);
    return static_cast<int>(std::min(most, settings_.run.batch));
  }

  std::int64_t context() const {
    std::int64_t longest = 1;
    for (const Prompt& p : prompts_)
      if (p.refusal.empty())
        longest =
            std::max(longest, static_cast<std::int64_t>(p.request.prompt.size()) + p.request.max_tokens);
    return longest;
  }

  bool generate() {
    if (run_->is_root() && run_->grid().replicas > 1 && settings_.prompt)
      spdlog::warn("one prompt keeps one replica busy; the other {} wait", run_->grid().replicas - 1);
    start_s_ = now_seconds();
    next_progress_s_ = start_s_ + 5;
    if (run_->is_root())
      for (const Prompt& prompt : prompts_)
        if (!prompt.refusal.empty()) deliver({prompt.request.index, "", {}, {}, "error", prompt.refusal});
    reports_.emplace(run_->world(), run_->grid(), [this](const json& record) { deliver_record(record); });
    std::vector<GenerationRequest> mine;
    for (const Prompt& prompt : prompts_)
      if (is_mine(prompt)) mine.push_back(prompt.request);
    Generator generator(run_->engine(), run_->replica(), run_->config(), run_->tokenizer(), run_->options(),
                        events());
    bool finished = generator.run(std::move(mine));
    times_ = generator.times();
    finished = reports_->finish(finished);
    share_single_error();
    if (run_->is_root() && settings_.prompt) write_stdout("\n");
    return finished;
  }

  Generator::Events events() {
    Generator::Events events;
    if (run_->is_root() && settings_.prompt)
      events.on_text = [this](const GenerationRequest&, const std::string& text,
                              std::span<const std::int32_t> ids) { stream(text, ids); };
    events.on_result = [this](GenerationResult&& result) {
      if (run_->is_root())
        deliver(result);
      else if (run_->leads_replica())
        reports_->send(record_of(result));
    };
    events.should_stop = [this] { return reports_->step(stop_signalled()); };
    return events;
  }

  void stream(const std::string& text, std::span<const std::int32_t> ids) {
    if (!settings_.token_ids) return write_stdout(text);
    std::string out;
    for (const std::int32_t id : ids) {
      out += (any_id_ ? " " : "") + std::to_string(id);
      any_id_ = true;
    }
    write_stdout(out);
  }

  const Prompt& prompt_of(std::int64_t index) const {
    const auto found = std::ranges::lower_bound(prompts_, index, {},
                                                [](const Prompt& prompt) { return prompt.request.index; });
    STAG_CHECK(found != prompts_.end() && found->request.index == index, index);
    return *found;
  }

  json record_of(const GenerationResult& result) const {
    const Prompt& prompt = prompt_of(result.index);
    json record = {{"id", prompt.id},
                   {"text", result.text},
                   {"token_ids", result.token_ids},
                   {"finish_reason", result.finish_reason},
                   {"prompt_tokens", prompt.request.prompt.size()}};
    if (prompt.request.log_probabilities) record["log_probabilities"] = result.log_probabilities;
    if (!result.error.empty()) record["error"] = result.error;
    return record;
  }

  void deliver(const GenerationResult& result) {
    if (settings_.prompt && result.finish_reason == "error") single_error_ = result.error;
    deliver_record(record_of(result));
  }

  void deliver_record(const json& record) {
    ++delivered_;
    if (output_)
      output_->write(record);
    else if (settings_.prompts)
      write_stdout(record.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
    if (settings_.prompt) single_result_ = record;
    log_progress();
  }

  void log_progress() {
    const double now = now_seconds();
    if (!settings_.prompts || now < next_progress_s_ || delivered_ == prompts_.size()) return;
    next_progress_s_ = now + 5;
    const double rate = static_cast<double>(delivered_) / (now - start_s_);
    spdlog::info("{} of {} results, about {:.0f} s to go", delivered_, prompts_.size(),
                 static_cast<double>(prompts_.size() - delivered_) / rate);
  }

  void share_single_error() {
    agree(run_->world(), [&] {
      if (!single_error_.empty()) throw NumericError(single_error_);
    });
  }

  void summarize(double seconds) {
    if (!run_->is_root()) return;
    const double decoded = static_cast<double>(times_.generated_tokens);
    spdlog::info(
        "{} prompt tokens in {:.3f} s ({:.1f} tokens/s), first token after {:.1f} ms, {} tokens generated in "
        "{} steps "
        "({:.1f} tokens/s), step median {:.3f} ms, p99 {:.3f} ms{}",
        times_.prompt_tokens, times_.prompt_s,
        times_.prompt_s > 0 ? static_cast<double>(times_.prompt_tokens) / times_.prompt_s : 0,
        times_.first_token_s * 1e3, times_.generated_tokens, times_.steps,
        times_.decode_s > 0 ? decoded / times_.decode_s : 0, percentile(times_.step_s, 50) * 1e3,
        percentile(times_.step_s, 99) * 1e3, run_->grid().replicas > 1 ? " (replica 0)" : "");
    if (times_.drafted_tokens > 0)
      spdlog::info(
          "{} of {} guessed tokens were right ({:.0f} %), {:.2f} tokens a step and sequence",
          times_.accepted_tokens, times_.drafted_tokens,
          100.0 * static_cast<double>(times_.accepted_tokens) / static_cast<double>(times_.drafted_tokens),
          1.0 + static_cast<double>(times_.accepted_tokens) / static_cast<double>(times_.sequence_steps));
    if (settings_.prompts) spdlog::info("{} results in {:.1f} s", delivered_, seconds);
  }

  json result_record() const {
    json record = {{"prompt_tokens", times_.prompt_tokens},
                   {"prompt_s", times_.prompt_s},
                   {"first_token_s", times_.first_token_s},
                   {"generated_tokens", times_.generated_tokens},
                   {"decode_s", times_.decode_s},
                   {"steps", times_.steps},
                   {"sequence_steps", times_.sequence_steps},
                   {"drafted_tokens", times_.drafted_tokens},
                   {"accepted_tokens", times_.accepted_tokens},
                   {"step_median_s", percentile(times_.step_s, 50)},
                   {"step_p99_s", percentile(times_.step_s, 99)},
                   {"results", delivered_}};
    if (!single_result_.is_null()) record["completion"] = single_result_;
    return record;
  }

  GenerateSettings settings_;
  ModelRun* run_ = nullptr;
  std::vector<Prompt> prompts_;  // in the order of their index
  std::optional<ReplicaReports> reports_;
  std::optional<ResultFile> output_;
  GenerationTimes times_;
  json single_result_;
  std::string single_error_;
  double start_s_ = 0, next_progress_s_ = 0;
  std::size_t delivered_ = 0;
  bool any_id_ = false;
};

}  // namespace

std::unique_ptr<Command> make_generate_command() {
  return std::make_unique<GenerateCommand>();
}

}  // namespace stagformer::internal
