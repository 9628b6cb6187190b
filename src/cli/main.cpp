// The program: parses the command line, starts MPI where it is needed, and turns every failure into one line
// and one exit code for the whole job.
#include <CLI/CLI.hpp>

#include <cstdio>
#include <iostream>
#include <new>
#include <optional>

#include "base/build_info.hpp"
#include "cli/command.hpp"
#include "cli/log.hpp"
#include "cli/settings_sources.hpp"
#include "cli/signals.hpp"
#include "comm/launcher.hpp"
#include "comm/mpi_session.hpp"
#include "pipeline/agreement.hpp"

namespace stagformer::internal {
namespace {

/// What the command line asks for: a command to run, a text for stdout (help, version), or an error.
struct Parsed {
  Command* command = nullptr;
  std::string output;
  std::string error;
  std::string log_level = "info";
};

class Program {
 public:
  Program() {
    commands_.push_back(make_generate_command());
    commands_.push_back(make_eval_command());
    commands_.push_back(make_inspect_command());
    commands_.push_back(make_convert_command());
  }

  int run(int argc, char** argv) {
    for (int i = 0; i < argc; ++i) command_line_ += (i ? " " : "") + std::string(argv[i]);
    const std::optional<LauncherInfo> launcher = detect_launcher();
    const bool many = launcher && launcher->size > 1;
    const Parsed parsed = parse(argc, argv);
    const bool model = parsed.command && parsed.command->runs_a_model();
    // Beside the runs of a model only rank 0 works; the others wait, so that no launcher takes an early exit
    // for a failure.
    try {
      std::optional<MpiSession> session;
      if (model || many) session.emplace(argc, argv);
      return static_cast<int>(run_parsed(parsed, session ? &*session : nullptr));
    } catch (const Error& error) {
      print_error(error.what());
      return static_cast<int>(error.code());
    }
  }

 private:
  Parsed parse(int argc, char** argv) {
    CLI::App app(
        "Distributed inference for StagFormer language models (time-staggered decoder-only transformers).",
        "stagformer");
    app.set_version_flag("--version", std::string("stagformer ") + version() + " (" + build_commit() + "; " +
                                          build_summary() + ")");
    app.require_subcommand(1);
    app.get_formatter()->column_width(34);
    std::string settings_file;
    for (const auto& command : commands_) {
      CLI::App* sub = app.add_subcommand(command->name(), command->summary());
      sub->get_formatter()->column_width(34);
      add_flags(*sub, [&](SettingsVisitor& v) { command->visit(v); });
      sub->add_option("--settings", settings_file, "JSON file of settings, named as the flags; flags win")
          ->type_name("F");
    }
    Parsed parsed;
    try {
      app.parse(argc, argv);
      for (const auto& command : commands_) {
        CLI::App* sub = app.get_subcommand(command->name());
        if (!sub->parsed()) continue;
        const VisitSettings visit = [&](SettingsVisitor& v) { command->visit(v); };
        apply_other_sources(*sub, visit, settings_file);
        check_required(visit);
        command->check();
        parsed.command = command.get();
        const nlohmann::json record = settings_record(visit);
        parsed.log_level = record.value("log-level", "info");
      }
    } catch (const CLI::CallForHelp&) {
      const auto chosen = app.get_subcommands();
      parsed.output = chosen.empty() ? app.help() : chosen.front()->help();
    } catch (const CLI::CallForVersion& version) {
      parsed.output = std::string(version.what()) + "\n";
    } catch (const CLI::ParseError& error) {
      parsed.error = app.get_subcommands().empty() ? subcommand_error(argc, argv) : "";
      if (parsed.error.empty()) parsed.error = error.what();
    } catch (const Error& error) {
      parsed.error = error.what();
    }
    if (!parsed.error.empty()) parsed.command = nullptr;
    return parsed;
  }

  /// What is wrong where no subcommand was recognised: none is there, or one that does not exist. Else empty.
  std::string subcommand_error(int argc, char** argv) const {
    std::string known;
    for (const auto& command : commands_) known += (known.empty() ? "" : ", ") + std::string(command->name());
    if (argc < 2) return "a subcommand is required: " + known;
    if (argv[1][0] == '-') return {};
    return "unknown subcommand '" + std::string(argv[1]) + "' (known: " + known + ")";
  }

  ExitCode run_parsed(const Parsed& parsed, const MpiSession* session) {
    const int rank = session ? session->rank() : 0, ranks = session ? session->size() : 1;
    set_up_log(parsed.log_level, rank, ranks);
    if (!parsed.error.empty()) {
      if (rank == 0)
        print_error(parsed.error + (parsed.error.ends_with('.') ? "" : ";") + " see stagformer --help");
      if (ranks > 1) session->world()->barrier();
      return ExitCode::usage;
    }
    if (!parsed.command) {
      if (rank == 0) std::cout << parsed.output << std::flush;
      return ExitCode::success;
    }
    if (!parsed.command->runs_a_model()) return run_alone(*parsed.command, session);
    return run_model(*parsed.command, *session);
  }

  /// A command of one process: the other ranks of a job wait for rank 0 and return its code.
  ExitCode run_alone(Command& command, const MpiSession* session) {
    ExitCode code = ExitCode::success;
    if (!session || session->rank() == 0) code = guarded([&] { return command.run(session, command_line_); });
    if (!session || session->size() == 1) return code;
    const Bytes answer =
        session->world()->broadcast(Bytes(1, std::byte(static_cast<unsigned char>(code))), 0);
    return static_cast<ExitCode>(answer[0]);
  }

  /// AgreedError: every rank knows, rank 0 speaks, all leave in order. Anything else ends the job at once.
  ExitCode run_model(Command& command, const MpiSession& session) {
    std::string message;
    ExitCode code = ExitCode::internal;
    try {
      session.check_world();
      return command.run(&session, command_line_);
    } catch (const AgreedError& error) {
      if (session.rank() == 0) print_error(error.what());
      return error.code();
    } catch (const Error& error) {
      message = error.what();
      code = error.code();
    } catch (const std::bad_alloc&) {
      message = "out of memory";
      code = ExitCode::memory;
    } catch (const std::exception& error) {
      message = std::string("internal error: ") + error.what();
    }
    if (session.size() == 1) {
      print_error(message);
      return code;
    }
    print_error("rank " + std::to_string(session.rank()) + ": " + message);
    MpiSession::abort(static_cast<int>(code));
  }

  template <typename Work>
  static ExitCode guarded(const Work& work) {
    try {
      return work();
    } catch (const Error& error) {
      print_error(error.what());
      return error.code();
    } catch (const std::bad_alloc&) {
      print_error("out of memory");
      return ExitCode::memory;
    } catch (const std::exception& error) {
      print_error(std::string("internal error: ") + error.what());
      return ExitCode::internal;
    }
  }

  std::vector<std::unique_ptr<Command>> commands_;
  std::string command_line_;
};

}  // namespace
}  // namespace stagformer::internal

int main(int argc, char** argv) {
  stagformer::internal::install_signal_handlers();
  return stagformer::internal::Program().run(argc, argv);
}
