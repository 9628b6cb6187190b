// stagformer plan: what grids would cost, without running them.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/host_info.hpp"
#include "base/markdown_table.hpp"
#include "base/number_list.hpp"
#include "base/text_table.hpp"
#include "checkpoint/made_tensors.hpp"
#include "cli/command.hpp"
#include "cli/files.hpp"
#include "cli/machine_file.hpp"
#include "cli/model_source.hpp"
#include "cli/run_settings.hpp"
#include "pipeline/plan.hpp"

namespace stagformer::internal {
namespace {

using nlohmann::json;

constexpr std::int64_t kMostRanks = 1 << 20;

struct PlanSettings {
  std::optional<std::string> checkpoint, config, sections, ranks, machine, weights;
  std::optional<std::int64_t> replicas;
  std::int64_t batch = 1, prompt_tokens = 512, chunk = 64;
  std::optional<std::int64_t> depth;
  bool simulate = false;
  std::string head = "auto", cache = "f32", decode = "exact", format = "md", log_level = "info";

  void visit(SettingsVisitor& v) {
    v.text("checkpoint", checkpoint, "The model: an HDF5 checkpoint");
    v.text("config", config, "Or a configuration: JSON as in configs/models");
    v.text("ranks", ranks, "Sizes of the world: a list (default: 1 and one section a rank)");
    v.text("machine", machine,
           "Machine files made by bench --calibrate: a list, tried one by one (default: a built-in machine)");
    v.text("sections", sections, "Deal the layers to so many sections of equal depth instead: a list");
    v.text("weights", weights, "Number format of the weights (default: as stored, f32 with --config)");
    v.integer("replicas", replicas, 1, kMostRanks, "Copies of the model (default: from the world's size)");
    v.integer("batch", batch, 1, kMostSequences, "Sequences at a time in a replica");
    v.integer("prompt-tokens", prompt_tokens, 1, kAnyInteger, "Tokens of a prompt");
    v.integer("depth", depth, 1, kAnyInteger, "Positions in the caches (default: the prompt)");
    v.integer("chunk", chunk, 1, 65536, "Prompt positions that go through a section at once");
    v.choice("head", head, {"auto", "sliced", "last"},
             "The head cut over all ranks, or whole on the last one");
    v.choice("cache", cache, {"f32", "bf16"}, "Number format of cached keys and values");
    v.choice("decode", decode, {"exact", "recurrent"}, "All passes, or the last pass alone after the prompt");
    v.flag("simulate", simulate,
           "Run the engine's own steps too, in virtual time, with a thread a rank: what the prediction must "
           "give");
    v.choice("format", format, {"md", "json"}, "Of the result on stdout");
    v.choice("log-level", log_level, {"debug", "info", "warning", "error", "off"},
             "What is logged to stderr");
  }
};

/// Empty where there is nothing to say.
std::string milliseconds(double seconds) {
  return seconds > 0 ? fixed(seconds * 1e3, 3) : "";
}

json record_of(const GridPlan& p) {
  return {{"ranks", p.grid.world},
          {"replicas", p.grid.replicas},
          {"sections", p.grid.sections},
          {"sections_per_rank", p.grid.sections_per_rank()},
          {"machine", p.machine},
          {"threads", p.threads},
          {"head", p.head == HeadMode::last ? "last" : "sliced"},
          {"weight_bytes", p.weight_bytes},
          {"cache_bytes", p.cache_bytes},
          {"memory_bytes", p.memory_bytes},
          {"messages", p.messages},
          {"message_bytes", p.message_bytes},
          {"staggered_s", p.staggered_s},
          {"sequential_s", p.sequential_s},
          {"simulated_s", p.simulated_s},
          {"simulated_sequential_s", p.simulated_sequential_s},
          {"waiting_s", p.waiting_s},
          {"prompt_s", p.prompt_s},
          {"tokens_per_s", p.tokens_per_s},
          {"filled_tokens_per_s", p.filled_tokens_per_s},
          {"tensor_parallel_s", p.tensor_parallel_s}};
}

class PlanCommand final : public Command {
 public:
  const char* name() const override { return "plan"; }
  const char* summary() const override { return "What grids would cost: bytes, messages, time per token"; }
  bool runs_a_model() const override { return false; }
  void visit(SettingsVisitor& v) override { settings_.visit(v); }

  void check() const override {
    if (settings_.checkpoint.has_value() == settings_.config.has_value())
      throw UsageError(settings_.checkpoint ? "--checkpoint and --config exclude each other"
                                            : "--checkpoint or --config is required");
    if (settings_.ranks) (void)parse_integers("ranks", *settings_.ranks, kMostRanks);
    if (settings_.sections) (void)parse_integers("sections", *settings_.sections, kMostRanks);
    if (settings_.machine) (void)split_list("machine", *settings_.machine);
    (void)wanted_format();
  }

  ExitCode run(const MpiSession*, const std::string&) override {
    const CheckpointIndex stored = read_model();
    const std::vector<Machine> all_machines = machines();
    std::vector<GridPlan> plans;
    for (const auto& sections : section_counts()) {
      const CheckpointIndex index = sections ? recut(stored, *sections) : stored;
      const PlanRequest request = request_for(index.config);
      for (const Machine& machine : all_machines)
        for (const std::int64_t ranks : rank_counts(index.config)) {
          const Grid grid = make_grid(static_cast<int>(ranks), index.config.sections.count, replicas());
          plans.push_back(plan_grid(index, grid, request, machine));
        }
    }
    write_stdout(settings_.format == "json" ? to_json(plans) : to_markdown(plans));
    return ExitCode::success;
  }

 private:
  std::optional<NumberFormat> wanted_format() const {
    return settings_.weights ? std::optional(weights_setting(*settings_.weights)) : std::nullopt;
  }
  std::optional<int> replicas() const {
    return settings_.replicas ? std::optional(static_cast<int>(*settings_.replicas)) : std::nullopt;
  }

  std::vector<std::optional<std::int64_t>> section_counts() const {
    if (!settings_.sections) return {std::nullopt};
    const auto counts = parse_integers("sections", *settings_.sections, kMostRanks);
    return {counts.begin(), counts.end()};
  }

  /// In another number format a model has no file: only its shapes count.
  CheckpointIndex read_model() const {
    const auto format = wanted_format();
    if (settings_.checkpoint) {
      const CheckpointIndex stored = read_checkpoint_index(*settings_.checkpoint);
      return format ? converted_index(stored, *format) : stored;
    }
    return random_source(*settings_.config, format.value_or(NumberFormat::f32), 0)->read_index();
  }

  static CheckpointIndex recut(const CheckpointIndex& stored, std::int64_t count) {
    const NumberFormat format = stored.datasets.at("sections/0/layers/0/feed_forward/up/weight").format;
    json config = json::parse(stored.config.to_json());
    json& sections = config["sections"];
    std::int64_t layers = 0;
    for (const json& h : sections["layers_per_section"]) layers += h.get<std::int64_t>();
    if (layers % count != 0)
      throw UsageError("--sections: " + std::to_string(layers) + " layers cannot be dealt to " +
                       std::to_string(count) + " sections of equal depth");
    const std::string link =
        sections["links"].empty() ? "staggered" : sections["links"][0].get<std::string>();
    sections["count"] = count;
    sections["layers_per_section"] = layers / count;
    sections["links"] = link;
    return random_index(config.dump(), format, 0);
  }

  EngineOptions options() const {
    RunSettings run;
    run.head = settings_.head;
    run.cache = settings_.cache;
    run.decode = settings_.decode;
    run.chunk = settings_.chunk;
    return run.engine_options();
  }

  PlanRequest request_for(const ModelConfig& config) const {
    PlanRequest request;
    request.options = options();
    if (settings_.decode == "recurrent" && !config.recurrent_refusal().empty())
      throw ConfigError(config.recurrent_refusal());
    request.simulate = settings_.simulate;
    request.options.slots = static_cast<int>(settings_.batch);
    request.point = {settings_.prompt_tokens, 1, settings_.batch,
                     settings_.depth.value_or(settings_.prompt_tokens), 1};
    request.options.context = request.point.context();
    if (request.options.context > config.max_position_embeddings)
      throw InputError("a prompt of " + std::to_string(request.point.prompt) + " tokens or a depth of " +
                       std::to_string(request.point.depth) + " does not fit the model's context of " +
                       std::to_string(config.max_position_embeddings));
    return request;
  }

  std::vector<Machine> machines() const {
    if (!settings_.machine) return {Machine::built_in_machine()};
    std::vector<Machine> machines;
    for (const std::string& path : split_list("machine", *settings_.machine))
      machines.push_back(read_machine(path));
    return machines;
  }

  std::vector<std::int64_t> rank_counts(const ModelConfig& config) const {
    if (settings_.ranks) return parse_integers("ranks", *settings_.ranks, kMostRanks);
    if (config.sections.count == 1) return {1};
    return {1, config.sections.count};
  }

  static std::string to_json(const std::vector<GridPlan>& plans) {
    json records = json::array();
    for (const GridPlan& plan : plans) records.push_back(record_of(plan));
    return records.dump(2) + "\n";
  }

  std::string to_markdown(const std::vector<GridPlan>& plans) const {
    MarkdownTable table({"machine",   "threads",       "sections",        "ranks",
                         "replicas",  "head",          "weights a rank",  "caches",
                         "memory",    "messages",      "bytes",           "staggered ms",
                         "simulated", "sequential ms", "simulated",       "tensor-parallel ms",
                         "waiting %", "tokens/s",      "filled tokens/s", "prompt ms"});
    for (const GridPlan& p : plans)
      table.add({p.machine,
                 std::to_string(p.threads),
                 std::to_string(p.grid.sections),
                 std::to_string(p.grid.world),
                 std::to_string(p.grid.replicas),
                 p.head == HeadMode::last ? "last" : "sliced",
                 format_bytes(p.weight_bytes),
                 format_bytes(p.cache_bytes),
                 format_bytes(p.memory_bytes),
                 std::to_string(p.messages),
                 format_bytes(p.message_bytes),
                 fixed(p.staggered_s * 1e3, 3),
                 milliseconds(p.simulated_s),
                 fixed(p.sequential_s * 1e3, 3),
                 milliseconds(p.simulated_sequential_s),
                 milliseconds(p.tensor_parallel_s),
                 fixed(100 * p.waiting_s / p.staggered_s, 1),
                 fixed(p.tokens_per_s, 1),
                 p.filled_tokens_per_s > 0 ? fixed(p.filled_tokens_per_s, 1) : "",
                 fixed(p.prompt_s * 1e3, 2)});
    table.drop_columns_of("");
    std::string text = "Batch " + std::to_string(settings_.batch) + ", depth " +
                       std::to_string(settings_.depth.value_or(settings_.prompt_tokens)) + ", prompts of " +
                       std::to_string(settings_.prompt_tokens) +
                       " tokens; bytes and messages of a step; predicted, not measured\n\n" + table.text();
    for (const std::string& line : advice(plans)) text += "\n* " + line;
    return text + "\n";
  }

  PlanSettings settings_;
};

}  // namespace

std::unique_ptr<Command> make_plan_command() {
  return std::make_unique<PlanCommand>();
}

}  // namespace stagformer::internal
