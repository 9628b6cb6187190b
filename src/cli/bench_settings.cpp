#include "cli/bench_settings.hpp"

#include "base/number_list.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

/// One value that stands for "the default" where the list was not given.
template <typename Value, typename Parse>
std::vector<std::optional<Value>> or_default(const std::optional<std::string>& text, const Parse& parse) {
  if (!text) return {std::nullopt};
  std::vector<std::optional<Value>> values;
  for (const Value& value : parse(*text)) values.emplace_back(value);
  return values;
}

std::vector<std::string> schedules(const std::string& text) {
  std::vector<std::string> names = split_list("schedule", text);
  for (const std::string& name : names)
    if (name != "staggered" && name != "sequential")
      throw UsageError("--schedule: '" + name + "' is none of staggered, sequential");
  return names;
}

std::vector<NumberFormat> formats(const std::string& text) {
  std::vector<NumberFormat> found;
  for (const std::string& name : split_list("weights", text)) found.push_back(weights_setting(name));
  return found;
}

}  // namespace

void BenchSettings::visit(SettingsVisitor& v) {
  v.text("checkpoint", run.checkpoint, "The model: an HDF5 checkpoint");
  v.text("random", random, "Or a configuration: JSON as in configs/models; its weights are drawn at random");
  v.text("prompt-tokens", prompt_tokens, "Tokens of a prompt: a list (default: 512)");
  v.text("decode-tokens", decode_tokens, "Decode steps: a list (default: 128)");
  v.text("depth", depth, "Positions in the caches when decoding begins: a list (default: the prompt)");
  v.text("batch", batch, "Sequences at a time in a replica: a list (default: 1)");
  v.text("groups", groups,
         "A filled pipeline: the batch in so many groups that follow each other through the ranks, a list");
  v.text("threads", threads, "Threads a rank: a list (default: OMP_NUM_THREADS, else its share of cores)");
  v.text("schedule", schedule, "staggered, sequential or both, as a list (default: staggered)");
  v.text("weights", weights,
         "Number formats of the weights: a list of f32, bf16, q8_0, q4_0, q4_1 (default: as stored, f32 with "
         "--random)");
  v.integer("repetitions", repetitions, 1, 1000000, "Timed repetitions of a point, after a warm-up");
  v.integer("seed", seed, 0, kAnyInteger, "Of random weights and prompts");
  v.choice("format", format, {"md", "csv", "json", "jsonl"}, "Of the result on stdout");
  v.text(
      "calibrate", calibrate,
      "Measure this machine with small models of its own and write it to this file, for plan and --emulate");
  v.text("machine", machine, "With --calibrate: measure messages alone, the rest stays as in this file");
  v.text("emulate", emulate,
         "Sleep instead of computing, as long as the machine of this file would take; messages are real");
  run.visit_rest(v);
}

void BenchSettings::check() const {
  if (calibrate && (run.checkpoint || random))
    throw UsageError("--calibrate runs models of its own: leave out --checkpoint and --random");
  if (machine && !calibrate) throw UsageError("--machine goes with --calibrate");
  if (machine && weights) throw UsageError("--machine leaves nothing of --weights to measure");
  if (calibrate && emulate) throw UsageError("--calibrate and --emulate do not go together");
  if (!calibrate && !run.checkpoint && !random)
    throw UsageError("--checkpoint, --random or --calibrate is required");
  if (run.checkpoint && random) throw UsageError("--checkpoint and --random do not go together");
  (void)setups();
  for (const BenchPoint& point : points())
    if (point.groups > point.batch)
      throw UsageError("--groups: a batch of " + std::to_string(point.batch) + " cannot be dealt to " +
                       std::to_string(point.groups) + " groups");
  run.check();
}

std::vector<BenchSetup> BenchSettings::setups() const {
  std::vector<BenchSetup> all;
  const auto counts = or_default<std::int64_t>(
      threads, [](const std::string& text) { return parse_integers("threads", text, kMostThreads); });
  for (const auto& format_wanted : or_default<NumberFormat>(weights, formats))
    for (const auto& count : counts)
      for (const std::string& name : schedules(schedule.value())) all.push_back({format_wanted, count, name});
  return all;
}

std::vector<BenchPoint> BenchSettings::points() const {
  constexpr std::int64_t kMostTokens = std::int64_t{1} << 31;
  std::vector<BenchPoint> all;
  const auto depths = or_default<std::int64_t>(
      depth, [](const std::string& text) { return parse_integers("depth", text, kMostTokens); });
  for (const std::int64_t sequences : parse_integers("batch", batch.value(), kMostSequences))
    for (const std::int64_t count : parse_integers("groups", groups.value(), kMostSequences))
      for (const std::int64_t prompt : parse_integers("prompt-tokens", prompt_tokens.value(), kMostTokens))
        for (const auto& begin : depths)
          for (const std::int64_t steps : parse_integers("decode-tokens", decode_tokens.value(), kMostTokens))
            all.push_back({prompt, steps, sequences, begin.value_or(prompt), repetitions, count});
  return all;
}

}  // namespace stagformer::internal
