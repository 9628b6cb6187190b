// A subcommand: its settings and what it does.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/settings.hpp"
#include "cli/settings_sources.hpp"
#include "comm/mpi_session.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {

class Command {
 public:
  virtual ~Command() = default;
  virtual const char* name() const = 0;
  virtual const char* summary() const = 0;
  virtual void visit(SettingsVisitor& visitor) = 0;
  /// Checks that no field alone can: which go together. Throws UsageError.
  virtual void check() const {}
  /// Runs on every rank of the job (true) or on rank 0 alone.
  virtual bool runs_a_model() const = 0;
  virtual ExitCode run(const MpiSession* session, const std::string& command_line) = 0;
};

std::unique_ptr<Command> make_generate_command();
std::unique_ptr<Command> make_chat_command();
std::unique_ptr<Command> make_eval_command();
std::unique_ptr<Command> make_bench_command();
std::unique_ptr<Command> make_inspect_command();
std::unique_ptr<Command> make_convert_command();
std::unique_ptr<Command> make_plan_command();
std::unique_ptr<Command> make_import_command();

}  // namespace stagformer::internal
