#include "cli/bench_settings.hpp"

#include <charconv>

#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

/// The parts between commas. Throws UsageError for an empty one.
std::vector<std::string> split(const char* name, const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    if (parts.back().empty())
      throw UsageError("--" + std::string(name) + ": '" + text + "' is no list of values (write 1,2,4)");
    begin = end + 1;
  }
  return parts;
}

std::vector<std::int64_t> integers(const char* name, const std::string& text, std::int64_t most) {
  std::vector<std::int64_t> values;
  for (const std::string& part : split(name, text)) {
    std::int64_t value = 0;
    const char* end = part.data() + part.size();
    const auto [rest, error] = std::from_chars(part.data(), end, value);
    if (error != std::errc() || rest != end || value < 1 || value > most)
      throw UsageError("--" + std::string(name) + ": '" + part + "' is no number from 1 to " +
                       std::to_string(most));
    values.push_back(value);
  }
  return values;
}

/// One value that stands for "the default" where the list was not given.
template <typename Value, typename Parse>
std::vector<std::optional<Value>> or_default(const std::optional<std::string>& text, const Parse& parse) {
  if (!text) return {std::nullopt};
  std::vector<std::optional<Value>> values;
  for (const Value& value : parse(*text)) values.emplace_back(value);
  return values;
}

std::vector<std::string> schedules(const std::string& text) {
  std::vector<std::string> names = split("schedule", text);
  for (const std::string& name : names)
    if (name != "staggered" && name != "sequential")
      throw UsageError("--schedule: '" + name + "' is none of staggered, sequential");
  return names;
}

std::vector<NumberFormat> formats(const std::string& text) {
  std::vector<NumberFormat> found;
  for (const std::string& name : split("weights", text)) {
    try {
      found.push_back(number_format_from(name));
    } catch (const ConfigError&) {
      throw UsageError("--weights: '" + name + "' is none of f32, bf16, q8_0, q4_0, q4_1");
    }
  }
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
  v.text("threads", threads, "Threads a rank: a list (default: OMP_NUM_THREADS, else its share of cores)");
  v.text("schedule", schedule, "staggered, sequential or both, as a list (default: staggered)");
  v.text("weights", weights,
         "Number formats of the weights: a list of f32, bf16, q8_0, q4_0, q4_1 (default: as stored, f32 with "
         "--random)");
  v.integer("repetitions", repetitions, 1, 1000000, "Timed repetitions of a point, after a warm-up");
  v.integer("seed", seed, 0, kAnyInteger, "Of random weights and prompts");
  v.choice("format", format, {"md", "csv", "json", "jsonl"}, "Of the result on stdout");
  run.visit_rest(v);
}

void BenchSettings::check() const {
  if (!run.checkpoint && !random) throw UsageError("--checkpoint or --random is required");
  if (run.checkpoint && random) throw UsageError("--checkpoint and --random do not go together");
  (void)setups();
  (void)points();
  run.check();
}

std::vector<BenchSetup> BenchSettings::setups() const {
  std::vector<BenchSetup> all;
  const auto counts = or_default<std::int64_t>(
      threads, [](const std::string& text) { return integers("threads", text, kMostThreads); });
  for (const auto& format_wanted : or_default<NumberFormat>(weights, formats))
    for (const auto& count : counts)
      for (const std::string& name : schedules(schedule.value())) all.push_back({format_wanted, count, name});
  return all;
}

std::vector<BenchPoint> BenchSettings::points() const {
  constexpr std::int64_t kMostTokens = std::int64_t{1} << 31;
  std::vector<BenchPoint> all;
  const auto depths = or_default<std::int64_t>(
      depth, [](const std::string& text) { return integers("depth", text, kMostTokens); });
  for (const std::int64_t sequences : integers("batch", batch.value(), kMostSequences))
    for (const std::int64_t prompt : integers("prompt-tokens", prompt_tokens.value(), kMostTokens))
      for (const auto& begin : depths)
        for (const std::int64_t steps : integers("decode-tokens", decode_tokens.value(), kMostTokens))
          all.push_back({prompt, steps, sequences, begin.value_or(prompt), repetitions});
  return all;
}

}  // namespace stagformer::internal
