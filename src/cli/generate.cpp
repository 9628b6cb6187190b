// stagformer generate: text from a prompt, or results for a file of prompts.
#include "cli/command.hpp"
#include "cli/generate_settings.hpp"
#include "cli/model_run.hpp"
#include "cli/prompt_batch.hpp"
#include "cli/single_prompt.hpp"
#include "pipeline/agreement.hpp"

namespace stagformer::internal {
namespace {

class GenerateCommand final : public Command {
 public:
  const char* name() const override { return "generate"; }
  const char* summary() const override { return "Generate text from a prompt, or from a file of prompts"; }
  void visit(SettingsVisitor& visitor) override { settings_.visit(visitor); }
  void check() const override { settings_.check(); }
  bool runs_a_model() const override { return true; }

  ExitCode run(const MpiSession* session, const std::string& command_line) override {
    ModelRun run(
        *session, settings_.run, [this](SettingsVisitor& v) { settings_.visit(v); }, command_line);
    const std::unique_ptr<GenerateJob> job =
        settings_.prompt ? make_single_prompt(run, settings_) : make_prompt_batch(run, settings_);
    run.open();
    job->prepare();
    EngineOptions options = settings_.run.engine_options();
    options.slots = job->slots();
    options.context = job->context();
    options.draft = static_cast<int>(settings_.draft);
    options.top = static_cast<int>(settings_.top_log_probabilities);
    options.share_prefixes = !settings_.no_prefix_sharing;
    run.load(options, false, true);
    const bool finished = job->generate();
    if (run.is_root()) job->summarize();
    run.report(job->seconds(), job->result_record());
    if (finished) return ExitCode::success;
    throw AgreedError(ExitCode::interrupted,
                      job->stop_reason() + (settings_.output ? "; the same command goes on" : ""));
  }

 private:
  GenerateSettings settings_;
};

}  // namespace

std::unique_ptr<Command> make_generate_command() {
  return std::make_unique<GenerateCommand>();
}

}  // namespace stagformer::internal
