// stagformer eval: how likely a model finds given texts.
#include "cli/command.hpp"
#include "cli/eval_items.hpp"
#include "cli/eval_settings.hpp"
#include "cli/eval_text.hpp"
#include "cli/model_run.hpp"

namespace stagformer::internal {
namespace {

class EvalCommand final : public Command {
 public:
  const char* name() const override { return "eval"; }
  const char* summary() const override {
    return "Perplexity of a text; accuracy on pairs and questions; log-probabilities of continuations";
  }
  void visit(SettingsVisitor& visitor) override { settings_.visit(visitor); }
  bool runs_a_model() const override { return true; }
  void check() const override { settings_.check(); }

  ExitCode run(const MpiSession* session, const std::string& command_line) override {
    ModelRun run(
        *session, settings_.run, [this](SettingsVisitor& v) { settings_.visit(v); }, command_line);
    run.open();
    if (settings_.text)
      evaluate_text(run, settings_);
    else
      evaluate_items(run, settings_);
    return ExitCode::success;
  }

 private:
  EvalSettings settings_;
};

}  // namespace

std::unique_ptr<Command> make_eval_command() {
  return std::make_unique<EvalCommand>();
}

}  // namespace stagformer::internal
