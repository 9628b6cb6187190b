#include "cli/generate_job.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <functional>

#include "base/check.hpp"
#include "cli/chat_source.hpp"
#include "cli/prompt_queue.hpp"
#include "cli/prompt_share.hpp"
#include "cli/replica_reports.hpp"
#include "cli/report.hpp"
#include "cli/signals.hpp"
#include "pipeline/agreement.hpp"
#include "stagformer/error.hpp"
#include "text/penalties.hpp"

namespace stagformer::internal {

using nlohmann::json;

namespace {

std::string text_of(const std::vector<Prompt>& prompts) {
  return to_json(prompts).dump(-1, ' ', false, json::error_handler_t::replace);
}

/// For every generated token a list of [id, log-probability], likeliest first; a vocabulary may have fewer.
json top_record(const GenerationResult& result, int per_token) {
  json all = json::array();
  for (std::size_t i = 0; i < result.top.size(); ++i) {
    if (i % static_cast<std::size_t>(per_token) == 0) all.push_back(json::array());
    if (result.top[i].id >= 0) all.back().push_back({result.top[i].id, result.top[i].log_probability});
  }
  return all;
}

}  // namespace

GenerateJob::GenerateJob(ModelRun& run, const GenerateSettings& settings)
    : run_(run), settings_(settings), begin_s_(now_seconds()) {}

void GenerateJob::prepare() {
  std::string text;
  agree(run_.world(), [&] {
    const std::string refusal = settings_.draft > 0 ? run_.config().draft_refusal() : "";
    if (!refusal.empty()) throw ConfigError(refusal);
    if (!run_.is_root()) return;
    std::vector<Prompt> prompts = read();
    write_out(prompts);
    check_prompts(prompts);
    open_output(prompts);
    text = text_of(prompts);
  });
  prompts_ = prompts_from(json::parse(to_text(run_.world().broadcast(to_bytes(text), 0))));
}

void GenerateJob::write_out(std::vector<Prompt>& prompts) const {
  std::optional<ChatTemplate> chat;
  for (Prompt& prompt : prompts) {
    if (settings_.draft > 0 && has_penalties(prompt.request.sampling))
      throw InputError("prompt " + prompt.id.dump() +
                       ": --draft and penalties on repeated tokens exclude each other");
    if (settings_.chat && !prompt.messages) prompt.messages = first_messages(settings_.system, prompt.text);
    if (prompt.messages && !chat)
      chat = make_chat_template(run_.index(), run_.tokenizer(), settings_.chat_template);
    prepare_prompt(prompt, run_.tokenizer(), run_.config(), chat ? &*chat : nullptr);
  }
}

/// The run's identity is what decides about its tokens: not how many ranks make them, nor for how long.
void GenerateJob::open_output(std::vector<Prompt>& prompts) {
  if (!settings_.output) return;
  const std::uint64_t digest = std::hash<std::string>{}(text_of(prompts) + settings_.run.decode +
                                                        std::to_string(run_.index().digest()));
  output_.emplace(*settings_.output, "stagformer results of run " + std::to_string(digest));
  const std::size_t all = prompts.size();
  std::erase_if(prompts, [&](const Prompt& p) { return output_->finished().contains(p.id.dump()); });
  found_ = all - prompts.size();
  if (found_ > 0) spdlog::info("{}: {} of {} results are there already", *settings_.output, found_, all);
}

std::vector<const GenerationRequest*> GenerateJob::runnable() const {
  std::vector<const GenerationRequest*> requests;
  for (const Prompt& prompt : prompts_)
    if (prompt.refusal.empty()) requests.push_back(&prompt.request);
  return requests;
}

int GenerateJob::slots() const {
  const auto prompts = static_cast<std::int64_t>(runnable().size());
  const std::int64_t share = (prompts + run_.grid().replicas - 1) / run_.grid().replicas;
  return static_cast<int>(std::clamp<std::int64_t>(share, 1, settings_.run.batch));
}

std::int64_t GenerateJob::context() const {
  std::int64_t longest = 1;
  for (const GenerationRequest* request : runnable())
    longest = std::max(longest, static_cast<std::int64_t>(request->prompt.size()) + request->max_tokens);
  return longest;
}

bool GenerateJob::generate() {
  const double start_s = now_seconds();
  const Grid& grid = run_.grid();
  const std::vector<const GenerationRequest*> requests = runnable();
  const PromptQueue queue(static_cast<std::int64_t>(requests.size()), grid.replicas,
                          grid.replicas == 1 ? static_cast<std::int64_t>(requests.size()) : run_.options().slots);
  ReplicaReports reports(
      run_.world(), grid,
      {[this](const json& message) { deliver(message[0].get<std::int64_t>(), message[1]); },
       [this](int replica, const GenerationLoad& load) { on_load(replica, load); },
       [this] { return stop_wanted(); }},
      queue);
  PromptShare share(run_.replica(), reports, queue, requests);
  if (run_.is_root()) begin();
  Generator generator(run_.engine(), run_.replica(), run_.config(), run_.tokenizer(), run_.options(),
                      events(reports, share));
  generator_ = &generator;
  bool finished =
      generator.run(share.first(run_.replica_number(), grid.replicas), grid.replicas > 1 ? &share : nullptr);
  times_ = generator.times();
  generator_ = nullptr;
  finished = reports.finish(finished);
  end();
  seconds_ = now_seconds() - start_s;
  return finished;
}

Generator::Events GenerateJob::events(ReplicaReports& reports, PromptShare& share) {
  Generator::Events events;
  if (run_.is_root() && settings_.prompt)
    events.on_text = [this](const GenerationRequest&, const std::string& text,
                            std::span<const std::int32_t> ids) { on_text(text, ids); };
  events.on_result = [this, &reports](GenerationResult&& result) {
    if (run_.is_root())
      deliver(result);
    else if (run_.leads_replica())
      reports.send({result.index, record_of(result)});
  };
  events.should_stop = [this, &reports, &share] {
    const GenerationLoad load = run_.leads_replica() ? generator_->load() : GenerationLoad{};
    share.look_ahead(load);
    return reports.step(load);
  };
  return events;
}

bool GenerateJob::stop_wanted() {
  return stop_signalled();
}

const Prompt& GenerateJob::prompt_of(std::int64_t index) const {
  const auto found = std::ranges::lower_bound(prompts_, index, {},
                                              [](const Prompt& prompt) { return prompt.request.index; });
  STAG_CHECK(found != prompts_.end() && found->request.index == index, index);
  return *found;
}

json GenerateJob::record_of(const GenerationResult& result) const {
  const Prompt& prompt = prompt_of(result.index);
  json record = {{"id", prompt.id},
                 {"text", result.text},
                 {"token_ids", result.token_ids},
                 {"finish_reason", result.finish_reason},
                 {"prompt_tokens", prompt.request.prompt.size()}};
  if (prompt.request.log_probabilities) record["log_probabilities"] = result.log_probabilities;
  if (prompt.request.top_log_probabilities > 0)
    record["top_log_probabilities"] = top_record(result, prompt.request.top_log_probabilities);
  if (!result.error.empty()) record["error"] = result.error;
  return record;
}

void GenerateJob::deliver(const GenerationResult& result) {
  deliver(result.index, record_of(result));
}

void GenerateJob::deliver(std::int64_t index, const json& record) {
  ++delivered_;
  result_tokens_ += static_cast<std::int64_t>(record["token_ids"].size());
  if (output_) output_->write(record);
  on_record(prompt_of(index), record);
}

void GenerateJob::summarize() const {
  const auto rate = [](std::int64_t count, double seconds) {
    return seconds > 0 ? static_cast<double>(count) / seconds : 0;
  };
  spdlog::info(
      "{} prompt tokens in {:.3f} s ({:.1f} tokens/s), first token after {:.1f} ms, {} tokens generated in "
      "{} "
      "steps ({:.1f} tokens/s), step median {:.3f} ms, p99 {:.3f} ms{}",
      times_.prompt_tokens, times_.prompt_s, rate(times_.prompt_tokens, times_.prompt_s),
      times_.first_token_s * 1e3, times_.generated_tokens, times_.steps,
      rate(times_.generated_tokens, times_.decode_s), percentile(times_.step_s, 50) * 1e3,
      percentile(times_.step_s, 99) * 1e3, run_.grid().replicas > 1 ? " (replica 0)" : "");
  if (times_.shared_prompt_tokens > 0)
    spdlog::info(
        "{} more prompt tokens were there already: prompts that begin as others share what was computed",
        times_.shared_prompt_tokens);
  if (times_.drafted_tokens > 0)
    spdlog::info(
        "{} of {} guessed tokens were right ({:.0f} %), {:.2f} tokens a step and sequence",
        times_.accepted_tokens, times_.drafted_tokens,
        100.0 * static_cast<double>(times_.accepted_tokens) / static_cast<double>(times_.drafted_tokens),
        1.0 + static_cast<double>(times_.accepted_tokens) / static_cast<double>(times_.sequence_steps));
}

json GenerateJob::result_record() const {
  return {{"prompt_tokens", times_.prompt_tokens},
          {"shared_prompt_tokens", times_.shared_prompt_tokens},
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
          {"results", delivered_},
          {"result_tokens", result_tokens_}};
}

}  // namespace stagformer::internal
