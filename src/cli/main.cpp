// The program: parses the command line, starts MPI where it is needed, and turns every failure into one line
// and one exit code for the whole job.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <new>
#include <optional>
#include <thread>
#include <utility>

#include "base/build_info.hpp"
#include "base/phase_clock.hpp"
#include "checkpoint/hdf5_guard.hpp"
#include "cli/command.hpp"
#include "cli/files.hpp"
#include "cli/log.hpp"
#include "cli/settings_sources.hpp"
#include "cli/signals.hpp"
#include "comm/host_name.hpp"
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
  double stall_timeout = 300;
};

class Program {
 public:
  Program() {
    commands_.push_back(make_generate_command());
    commands_.push_back(make_chat_command());
    commands_.push_back(make_eval_command());
    commands_.push_back(make_bench_command());
    commands_.push_back(make_inspect_command());
    commands_.push_back(make_convert_command());
    commands_.push_back(make_plan_command());
    commands_.push_back(make_import_command());
  }

  int run(int argc, char** argv) {
    for (int i = 0; i < argc; ++i) command_line_ += (i ? " " : "") + std::string(argv[i]);
    const std::optional<LauncherInfo> launcher = detect_launcher();
    const bool many = launcher && launcher->size > 1;
    const Parsed parsed = parse(argc, argv);
    const bool model = parsed.command && parsed.command->runs_a_model();
    // Beside the runs of a model only rank 0 works; the others wait, so that no launcher takes an early exit
    // for a failure.
    return static_cast<int>(guarded([&] {
      std::optional<MpiSession> session;
      if (model || many) session.emplace(argc, argv, parsed.stall_timeout);
      install_signal_handlers();  // MPICH's start takes SIGUSR1 for itself
      // Where the launcher's ranks do not know each other each of them is rank 0 of its own world.
      if (session) speaks_ = session->rank() == 0 && (session->size() > 1 || !many || launcher->rank == 0);
      const ExitCode code = run_parsed(parsed, session ? &*session : nullptr);
      if (session) session->will_return(static_cast<int>(code));
      return code;
    }));
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
        parsed.log_level = record.value("log-level", parsed.log_level);
        parsed.stall_timeout = record.value("stall-timeout", parsed.stall_timeout);
      }
    } catch (const CLI::CallForHelp&) {
      const auto chosen = app.get_subcommands();
      parsed.output = chosen.empty() ? app.help() : chosen.front()->help();
    } catch (const CLI::CallForVersion& version) {
      parsed.output = std::string(version.what()) + "\n";
    } catch (const CLI::ParseError& error) {
      parsed.error = app.get_subcommands().empty() ? subcommand_error(argc, argv) : "";
      if (parsed.error.empty()) parsed.error = error.what();
    } catch (const std::exception& error) {
      parsed.error = error.what();
    }
    if (parsed.error.empty()) return parsed;
    parsed.command = nullptr;
    parsed.error += parsed.error.ends_with('.') ? " See stagformer --help" : "; see stagformer --help";
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
    set_up_log(parsed.log_level, session ? session->rank() : 0, session ? session->size() : 1);
    if (session && session->size() > 1) return run_together(parsed, *session);
    return guarded([&] {
      if (!parsed.error.empty()) throw UsageError(parsed.error);
      if (session && parsed.command) session->check_world();
      return run_here(parsed, session);
    });
  }

  ExitCode run_here(const Parsed& parsed, const MpiSession* session) {
    if (parsed.command && !parsed.command->runs_a_model()) restore_default_signals();
    if (parsed.command) return parsed.command->run(session, command_line_);
    if (speaks_) write_stdout(parsed.output);
    return ExitCode::success;
  }

  /// AgreedError: every rank knows, rank 0 speaks, all leave in order. Anything else ends the job at once.
  ExitCode run_together(const Parsed& parsed, const MpiSession& session) {
    Failure failure;
    try {
      const std::unique_ptr<Transport> world = session.world();
      check_same_command(*world, parsed);
      if (parsed.command && parsed.command->runs_a_model()) return run_here(parsed, &session);
      return run_on_rank_0(parsed, session, *world);
    } catch (const AgreedError& error) {
      if (speaks_) print_error(error.what());
      return error.code();
    } catch (...) {
      failure = present_failure();
    }
    await_turn(session.rank());
    print_error("rank " + std::to_string(session.rank()) + " on host " + this_host_name() + ": " +
                failure.message);
    MpiSession::abort(static_cast<int>(failure.code));
  }

  /// Collective: a command line that is wrong on any rank is an error of all, and all must have the same
  /// subcommand.
  static void check_same_command(Transport& world, const Parsed& parsed) {
    agree(world, [&] {
      if (!parsed.error.empty()) throw UsageError(parsed.error);
    });
    const std::string name = parsed.command ? parsed.command->name() : "help";
    agree_on(world, "subcommand", std::hash<std::string>{}(name), name);
  }

  /// A command of one process: the other ranks wait for rank 0, which may take any time, and return its code.
  ExitCode run_on_rank_0(const Parsed& parsed, const MpiSession& session, Transport& world) {
    ExitCode code = ExitCode::success;
    if (session.rank() == 0) code = guarded([&] { return run_here(parsed, &session); });
    world.set_stall_timeout(0);
    const Bytes answer = world.broadcast(Bytes(1, std::byte(static_cast<unsigned char>(code))), 0);
    return static_cast<ExitCode>(answer[0]);
  }

  /// Several ranks may fail over the same thing at the same time: they take turns, and the first one that
  /// speaks ends the job. Where a signal came before, that may be this end: the launcher's last signal will
  /// tell, and soon.
  static void await_turn(int rank) {
    constexpr double kTurn = 0.05, kHeadStart = 2, kLaunchersPatience = 2;  // seconds
    bool is_signalled = false;
    for (double turn = now_seconds() + kTurn * (1 + std::min(rank, 40)) + (rank > 0 ? kHeadStart : 0);
         now_seconds() < turn;) {
      if (signals_received() > 0 && !std::exchange(is_signalled, true)) turn += kLaunchersPatience;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  struct Failure {
    ExitCode code = ExitCode::internal;
    std::string message;
  };

  /// What the exception that is being handled means to the user.
  static Failure present_failure() {
    try {
      throw;
    } catch (const Error& error) {
      return {error.code(), error.what()};
    } catch (const std::bad_alloc&) {
      return {ExitCode::memory, "out of memory"};
    } catch (const std::exception& error) {
      return {ExitCode::internal, std::string("internal error: ") + error.what()};
    }
  }

  template <typename Work>
  ExitCode guarded(const Work& work) const {
    try {
      return work();
    } catch (...) {
      const Failure failure = present_failure();
      if (speaks_) print_error(failure.message);
      return failure.code;
    }
  }

  std::vector<std::unique_ptr<Command>> commands_;
  std::string command_line_;
  bool speaks_ = true;  // one process of a job does
};

}  // namespace
}  // namespace stagformer::internal

int main(int argc, char** argv) {
  stagformer::internal::install_signal_handlers();
  stagformer::internal::Hdf5Guard::enable();
  return stagformer::internal::Program().run(argc, argv);
}
