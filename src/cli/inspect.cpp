// stagformer inspect: what a checkpoint holds.
#include <spdlog/spdlog.h>

#include <iostream>

#include "checkpoint/inspect.hpp"
#include "cli/command.hpp"

namespace stagformer::internal {
namespace {

class InspectCommand final : public Command {
 public:
  const char* name() const override { return "inspect"; }
  const char* summary() const override { return "Show what a checkpoint holds"; }
  bool runs_a_model() const override { return false; }

  void visit(SettingsVisitor& v) override {
    v.text("checkpoint", checkpoint_, "The checkpoint to look at", true);
    v.flag("verify", verify_, "Check every checksum, shape and value");
    v.choice("log-level", log_level_, {"debug", "info", "warning", "error", "off"},
             "What is logged to stderr");
  }

  ExitCode run(const MpiSession*, const std::string&) override {
    const InspectReport report = inspect_checkpoint(*checkpoint_, verify_);
    for (const std::string& warning : report.warnings) spdlog::warn("{}", warning);
    report.print(std::cout);
    std::cout << std::flush;
    if (!std::cout) throw InputError("cannot write to standard output");
    return ExitCode::success;
  }

 private:
  std::optional<std::string> checkpoint_;
  bool verify_ = false;
  std::string log_level_ = "info";
};

}  // namespace

std::unique_ptr<Command> make_inspect_command() {
  return std::make_unique<InspectCommand>();
}

}  // namespace stagformer::internal
