#include "cli/prompt_batch.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "cli/files.hpp"
#include "cli/progress_report.hpp"

namespace stagformer::internal {
namespace {

using nlohmann::json;

constexpr double kSecondsPerHour = 3600;

class PromptBatch final : public GenerateJob {
 public:
  using GenerateJob::GenerateJob;

  std::string stop_reason() const override {
    if (!time_is_up_) return GenerateJob::stop_reason();
    return "the time limit was reached (--max-hours " + json(settings_.max_hours).dump() + ")";
  }

  void summarize() const override {
    GenerateJob::summarize();
    const double rate = seconds() > 0 ? static_cast<double>(result_tokens_) / seconds() : 0;
    spdlog::info("{} results of {} tokens in {:.1f} s ({:.1f} tokens/s)", delivered_, result_tokens_,
                 seconds(), rate);
  }

 private:
  std::vector<Prompt> read() const override { return read_prompts(*settings_.prompts, settings_.defaults()); }

  /// What is refused has its result at once.
  void begin() override {
    const auto refused = std::ranges::count_if(prompts_, [](const Prompt& p) { return !p.refusal.empty(); });
    progress_.emplace(run_.grid().replicas, static_cast<std::int64_t>(found_) + refused);
    for (const Prompt& prompt : prompts_)
      if (prompt.refusal.empty()) progress_->expect(prompt.request.max_tokens);
    for (const Prompt& prompt : prompts_)
      if (!prompt.refusal.empty()) deliver({prompt.request.index, "", {}, {}, "error", prompt.refusal});
  }

  void on_record(const Prompt& prompt, const json& record) override {
    if (!output_) {
      progress_->make_way();
      write_stdout(record.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
    }
    if (!prompt.refusal.empty()) return;
    const std::string reason = record["finish_reason"];
    progress_->add_result(prompt.request.max_tokens, static_cast<std::int64_t>(record["token_ids"].size()),
                          reason == "eos" || reason == "stop");
  }

  void on_load(int replica, const GenerationLoad& load) override { progress_->set_load(replica, load); }

  /// Rank 0 alone looks at the clock.
  bool stop_wanted() override {
    if (run_.is_root()) progress_->tick();
    if (GenerateJob::stop_wanted()) return true;
    if (settings_.max_hours > 0 && run_.is_root())
      time_is_up_ |= now_seconds() - begin_s_ > settings_.max_hours * kSecondsPerHour;
    return time_is_up_;
  }

  void end() override { progress_.reset(); }

  std::optional<ProgressReport> progress_;
  bool time_is_up_ = false;
};

}  // namespace

std::unique_ptr<GenerateJob> make_prompt_batch(ModelRun& run, const GenerateSettings& settings) {
  return std::make_unique<PromptBatch>(run, settings);
}

}  // namespace stagformer::internal
