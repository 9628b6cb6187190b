// stagformer bench: how fast prompts and decode steps go, beside what the machine would give.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "base/host_info.hpp"
#include "cli/bench_output.hpp"
#include "cli/bench_record.hpp"
#include "cli/bench_settings.hpp"
#include "cli/calibration.hpp"
#include "cli/command.hpp"
#include "cli/files.hpp"
#include "cli/machine_file.hpp"
#include "cli/model_run.hpp"
#include "cli/model_source.hpp"
#include "cli/report.hpp"
#include "cli/signals.hpp"
#include "pipeline/agreement.hpp"
#include "pipeline/step_cost.hpp"

namespace stagformer::internal {
namespace {

class BenchCommand final : public Command {
 public:
  const char* name() const override { return "bench"; }
  const char* summary() const override { return "Speed of prompts and decode steps, with sweeps"; }
  void visit(SettingsVisitor& visitor) override { settings_.visit(visitor); }
  void check() const override { settings_.check(); }
  bool runs_a_model() const override { return true; }

  ExitCode run(const MpiSession* session, const std::string& command_line) override {
    session_ = session;
    command_line_ = command_line;
    if (settings_.calibrate) return run_calibration();
    output_.emplace(settings_.format);
    const std::vector<BenchSetup> setups = settings_.setups();
    for (const BenchSetup& setup : setups) run_setup(setup, setups);
    return ExitCode::success;
  }

 private:
  ExitCode run_calibration() {
    const std::unique_ptr<Transport> world = session_->world();
    const std::string path = *settings_.calibrate;
    agree(*world, [&] {
      if (world->rank() == 0) check_writable(path);
    });
    settings_.run.threads = settings_.setups().front().threads;
    std::optional<Machine> base;
    if (settings_.machine) base = read_machine(*world, *settings_.machine);
    const Machine machine = calibrate(*session_, settings_, command_line_, base);
    agree(*world, [&] {
      if (world->rank() != 0) return;
      write_file_atomically(path, machine.to_json());
      write_stdout(machine_table(machine));
    });
    return ExitCode::success;
  }

  /// Every setup is a run of its own: its weights are loaded for its threads, and gone before the next one's.
  void run_setup(const BenchSetup& setup, const std::vector<BenchSetup>& all) {
    settings_.run.threads = setup.threads;
    settings_.run.schedule = setup.schedule;
    ModelRun run(
        *session_, settings_.run, [this](SettingsVisitor& v) { settings_.visit(v); }, command_line_,
        source_of(setup));
    run.open();
    agree_on(run.world(), "number of combinations", all.size(), std::to_string(all.size()));
    EngineOptions options = options_for(run);
    if (settings_.emulate) machine_ = read_machine(run.world(), *settings_.emulate);
    options.emulated = machine_.has_value();
    if (machine_)
      options.head = chosen_head(run.index(), run.grid(), options, settings_.points()[0], *machine_);
    const bool filled =
        std::ranges::any_of(settings_.points(), [](const BenchPoint& point) { return point.groups > 1; });
    agree(run.world(), [&] { refuse_groups(run, options, filled); });
    run.load(options, filled);
    const double begin = now_seconds();
    for (const BenchPoint& point : settings_.points()) measure_point(run, point);
    if (&setup == &all.back()) finish(run, now_seconds() - begin);
  }

  std::unique_ptr<ModelSource> source_of(const BenchSetup& setup) const {
    const auto seed = static_cast<std::uint64_t>(settings_.seed);
    if (settings_.random)
      return random_source(*settings_.random, setup.weights.value_or(NumberFormat::f32), seed);
    return setup.weights ? converted_source(*settings_.run.checkpoint, *setup.weights)
                         : checkpoint_source(*settings_.run.checkpoint);
  }

  EngineOptions options_for(ModelRun& run) const {
    EngineOptions options = settings_.run.engine_options();
    agree(run.world(), [&] {
      for (const BenchPoint& point : settings_.points()) {
        if (point.context() > run.max_context())
          throw InputError("a prompt of " + std::to_string(point.prompt) + " tokens and " +
                           std::to_string(point.decode) + " decode steps from depth " +
                           std::to_string(point.depth) + " do not fit the model's context of " +
                           std::to_string(run.max_context()));
        options.slots = std::max(options.slots, static_cast<int>(point.batch));
        options.context = std::max(options.context, point.context());
      }
    });
    return options;
  }

  /// Ranks that work on the same token at the same time have nothing to fill.
  static void refuse_groups(const ModelRun& run, const EngineOptions& options, bool filled) {
    if (!filled || run.grid().ranks_per_replica() == 1) return;
    const auto& links = run.config().sections.links;
    const bool chained = std::ranges::all_of(links, [](Link link) { return link == Link::chained; });
    if (options.schedule == Schedule::staggered && !chained)
      throw UsageError(
          "--groups fills a pipeline: it goes with --schedule sequential, or with chained links");
  }

  void set_emulation(ModelRun& run, BenchPoint point) const {
    point.batch = point.largest_group();
    const auto rank = static_cast<std::size_t>(run.part().rank);
    const EngineOptions& options = run.options();
    EmulatedWork work{decode_work(run.index(), run.grid(), options, point, *machine_)[rank],
                      chunk_work(run.index(), run.grid(), options, point, *machine_)[rank],
                      std::min(options.chunk, point.prompt)};
    work.step.choice_s = work.chunk.choice_s = 0;
    run.engine().emulate(work);
  }

  /// What a rank reads in a step decides from which cache or memory it streams, as far as there is room for
  /// as much again.
  MachineSpeed measure(ModelRun& run, const BenchPoint& point) const {
    const StepBytes bytes = step_bytes(run.index(), run.part(), run.options(), point);
    if (machine_) {  // the speeds of the file
      const FormatSpeed& speed = machine_->speed_of(run.index().datasets.at(head_name(run.config())).format);
      const auto total = static_cast<double>(bytes.total());
      return {bytes.total(), 1 / speed.together.read_s_per_byte.at(total), speed.operations_per_s,
              speed.operations_per_s};
    }
    const RankFacts& facts = run.facts()[static_cast<std::size_t>(run.world().rank())];
    const std::int64_t room = settings_.run.memory_limit
                                  ? parse_bytes("memory-limit", *settings_.run.memory_limit) -
                                        facts.weight_bytes - facts.cache_bytes
                                  : available_memory() / (2 * std::max(1, session_->local_size()));
    return measure_machine(run.world(), std::min(bytes.weights, room), run.threads());
  }

  /// The machine is measured before and after, since others may be at work on it at either time.
  void measure_point(ModelRun& run, const BenchPoint& point) {
    Benchmark benchmark(run.engine(), run.world(), run.replica(), run.config(), run.options(),
                        static_cast<std::uint64_t>(settings_.seed), [] { return stop_signalled(); });
    if (machine_) set_emulation(run, point);
    const MachineSpeed before = measure(run, point);
    const BenchSamples samples = benchmark.run(point, run.replica_number() * point.batch);
    if (samples.stopped) throw AgreedError(ExitCode::interrupted, "stopped by a signal");
    const MachineSpeed machine = best_of(before, measure(run, point));
    const BenchResult result = gather_result(run, point, samples, machine);
    print(run, [&] {
      const nlohmann::json settings = settings_record([this](SettingsVisitor& v) { settings_.visit(v); });
      auto record =
          record_of(run, result, provenance(run.world(), command_line_, run.instruction_set()), settings);
      record["emulated"] = machine_ ? machine_->name : "";
      return output_->add(record);
    });
  }

  void finish(ModelRun& run, double seconds) {
    print(run, [&] { return output_->finish(); });
    run.report(seconds, run.is_root() ? nlohmann::json(output_->records()) : nlohmann::json());
  }

  /// Collective: rank 0 makes and prints a text; all ranks learn if that failed.
  template <typename MakeText>
  static void print(ModelRun& run, const MakeText& make_text) {
    agree(run.world(), [&] {
      if (!run.is_root()) return;
      const std::string text = make_text();
      if (!text.empty()) write_stdout(text);
    });
  }

  BenchSettings settings_;
  const MpiSession* session_ = nullptr;
  std::string command_line_;
  std::optional<BenchOutput> output_;
  std::optional<Machine> machine_;  // emulated
};

}  // namespace

std::unique_ptr<Command> make_bench_command() {
  return std::make_unique<BenchCommand>();
}

}  // namespace stagformer::internal
