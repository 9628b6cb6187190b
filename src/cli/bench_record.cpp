#include "cli/bench_record.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <set>

#include "base/host_info.hpp"
#include "base/statistics.hpp"
#include "cli/report.hpp"

namespace stagformer::internal {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kGiga = 1e9, kMicro = 1e6;

/// The repetition whose time is the lower median.
std::size_t median_place(const std::vector<double>& seconds) {
  std::vector<std::size_t> order(seconds.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return seconds[i]; });
  return order[(order.size() - 1) / 2];
}

/// Repetition by repetition the slowest rank's time.
std::vector<double> slowest(Transport& world, const std::vector<BenchSample>& samples) {
  std::vector<double> seconds;
  for (const BenchSample& sample : samples) {
    const std::vector<double> all = gather_values(world, sample.seconds);
    seconds.push_back(*std::ranges::max_element(all));
  }
  return seconds;
}

/// tokens / seconds of each repetition: median, least, most, and how far those lie apart.
Json rates(double tokens, const std::vector<double>& seconds) {
  std::vector<double> speeds;
  for (const double s : seconds) speeds.push_back(tokens / s);
  const double middle = median(speeds);
  const auto [least, most] = std::ranges::minmax(speeds);
  return {{"median", middle}, {"min", least}, {"max", most}, {"relative_spread", (most - least) / middle}};
}

bool is_waiting(Phase phase) {
  return phase == Phase::other || phase == Phase::wait_input || phase == Phase::wait_memory ||
         phase == Phase::wait_z || phase == Phase::wait_candidates || phase == Phase::wait_send;
}

/// Seconds outside of (true) or inside of the rank's own computing.
double seconds_of(const BenchSample& sample, bool waiting) {
  double seconds = 0;
  for (std::size_t p = 0; p < kPhases; ++p)
    if (is_waiting(static_cast<Phase>(p)) == waiting) seconds += sample.phases[p];
  return seconds;
}

Json phases_us(const BenchSample& sample, double units) {
  Json record;
  for (std::size_t p = 0; p < kPhases; ++p)
    record[name_of(static_cast<Phase>(p))] = sample.phases[p] / units * kMicro;
  return record;
}

/// The formats of the matrices, as "q4_0" or "bf16+q8_0".
std::string weight_formats(const CheckpointIndex& index) {
  std::set<NumberFormat> formats;
  for (const auto& [name, info] : index.datasets)
    if (info.shape.size() == 2) formats.insert(info.format);
  std::string text;
  for (const NumberFormat format : formats) text += (text.empty() ? "" : "+") + std::string(name_of(format));
  return text;
}

bool all_in_blocks(const CheckpointIndex& index) {
  return std::ranges::all_of(index.datasets, [](const auto& entry) {
    return entry.second.shape.size() < 2 || is_block_format(entry.second.format);
  });
}

/// Stored numbers, each object once.
std::int64_t parameters(const CheckpointIndex& index) {
  std::set<std::pair<int, std::int64_t>> seen;
  std::int64_t count = 0;
  for (const auto& [name, info] : index.datasets)
    if (seen.emplace(info.file, info.offset).second) count += info.rows() * info.columns();
  return count;
}

Json model_of(const CheckpointIndex& index) {
  const ModelConfig& c = index.config;
  std::string layers;
  for (const int h : c.sections.layers_per_section) layers += (layers.empty() ? "" : "+") + std::to_string(h);
  return {{"file", index.path},
          {"source", index.source},
          {"parameters", parameters(index)},
          {"sections", c.sections.count},
          {"layers", layers},
          {"shared_weights", c.sections.weights == stagformer::SectionWeights::shared},
          {"hidden_size", c.hidden_size},
          {"intermediate_size", c.intermediate_size},
          {"heads", c.num_attention_heads},
          {"key_value_heads", c.num_key_value_heads},
          {"head_dim", c.head_dim},
          {"vocab_size", c.vocab_size},
          {"context", c.max_position_embeddings}};
}

Json prefill_of(const ModelRun& run, const BenchResult& r) {
  const auto replicas = static_cast<double>(run.grid().replicas);
  double peak = 0;  // of all ranks together
  const bool bytes = all_in_blocks(run.index()) && r.ranks[0].machine.byte_operations_per_s > 0;
  for (const BenchRankFigures& rank : r.ranks)
    peak += bytes ? rank.machine.byte_operations_per_s : rank.machine.f32_operations_per_s;
  const double speed = r.prefill_operations * replicas / median(r.prefill_s);
  return {
      {"tokens_per_s", rates(static_cast<double>(r.point.prompt * r.point.batch) * replicas, r.prefill_s)},
      {"seconds", r.prefill_s},
      {"gflop_per_s", speed / kGiga},
      {"peak_gflop_per_s", peak / kGiga},
      {"peak_kind", bytes ? "int8 dot products" : "f32 multiply-adds"},
      {"share_of_peak", speed / peak}};
}

/// The rank that reads the most; it sets what streaming memory would allow.
const BenchRankFigures& busiest(const BenchResult& r) {
  return *std::ranges::max_element(r.ranks, {}, [](const auto& rank) { return rank.bytes.total(); });
}

Json decode_of(const ModelRun& run, const BenchResult& r) {
  const auto steps = static_cast<double>(r.point.decode);
  const double step = median(r.decode_s) / steps;
  const BenchRankFigures& rank = busiest(r);
  const double rate = static_cast<double>(rank.bytes.total()) / step;
  double outside = 0, longest = 0, measured = 0;
  for (const BenchRankFigures& other : r.ranks) {
    outside = std::max(outside, seconds_of(other.decode, true) / steps);
    longest = std::max(longest, seconds_of(other.decode, false) / steps);
    measured = std::max(measured, other.decode.seconds / steps);
  }
  return {{"tokens_per_s",
           rates(static_cast<double>(r.point.decode * r.point.batch) * run.grid().replicas, r.decode_s)},
          {"seconds", r.decode_s},
          {"step_ms", step * 1e3},
          {"step_ms_median", r.step_median_s * 1e3},
          {"step_ms_p99", r.step_p99_s * 1e3},
          {"weight_bytes", rank.bytes.weights},
          {"cache_bytes", rank.bytes.caches},
          {"gb_per_s", rate / kGiga},
          {"stream_gb_per_s", rank.machine.read_bytes_per_s / kGiga},
          {"share_of_stream", rate / rank.machine.read_bytes_per_s},
          {"outside_compute_us", outside * kMicro},
          {"outside_compute_share", outside / measured},
          {"longest_compute_us", longest * kMicro},
          {"efficiency", longest / measured},
          {"token_digest", hexadecimal(r.token_digest)}};
}

Json ranks_of(const ModelRun& run, const BenchResult& r) {
  Json ranks = Json::array();
  const auto steps = static_cast<double>(r.point.decode);
  for (std::size_t i = 0; i < r.ranks.size(); ++i) {
    const BenchRankFigures& rank = r.ranks[i];
    Json record = {{"rank", i}};
    record.update(placement_record<Json>(run.facts()[i]));
    record.update(Json{{"step_weight_bytes", rank.bytes.weights},
                       {"step_cache_bytes", rank.bytes.caches},
                       {"stream_gb_per_s", rank.machine.read_bytes_per_s / kGiga},
                       {"stream_bytes", rank.machine.read_bytes},
                       {"f32_gflop_per_s", rank.machine.f32_operations_per_s / kGiga},
                       {"int8_gop_per_s", rank.machine.byte_operations_per_s / kGiga},
                       {"step_us", rank.decode.seconds / steps * kMicro},
                       {"step_phases_us", phases_us(rank.decode, steps)},
                       {"step_compute_us", seconds_of(rank.decode, false) / steps * kMicro},
                       {"step_outside_us", seconds_of(rank.decode, true) / steps * kMicro},
                       {"step_messages", static_cast<double>(rank.decode.messages) / steps},
                       {"step_sent_bytes", static_cast<double>(rank.decode.bytes) / steps},
                       {"prefill_us", rank.prefill.seconds * kMicro},
                       {"prefill_phases_us", phases_us(rank.prefill, 1)}});
    ranks.push_back(std::move(record));
  }
  return ranks;
}

}  // namespace

BenchResult gather_result(ModelRun& run, const BenchPoint& point, const BenchSamples& samples,
                          const MachineSpeed& machine) {
  Transport& world = run.world();
  BenchResult result;
  result.point = point;
  result.prefill_s = slowest(world, samples.prefill);
  result.decode_s = slowest(world, samples.decode);
  result.step_median_s = percentile(samples.step_s, 50);
  result.step_p99_s = percentile(samples.step_s, 99);
  result.prefill_operations = prefill_operations(run.index(), point);
  result.token_digest = samples.token_digest;
  StepBytes bytes = step_bytes(run.index(), run.part(), run.options(), point);
  bytes.weights *= point.groups;  // every group reads them
  result.ranks =
      gather_values<BenchRankFigures>(world, {machine, bytes, samples.prefill[median_place(result.prefill_s)],
                                              samples.decode[median_place(result.decode_s)]});
  return result;
}

nlohmann::ordered_json record_of(const ModelRun& run, const BenchResult& result,
                                 const nlohmann::json& provenance, const nlohmann::json& settings) {
  const BenchPoint& point = result.point;
  return {{"model", model_of(run.index())},
          {"weights", weight_formats(run.index())},
          {"ranks", run.grid().world},
          {"replicas", run.grid().replicas},
          {"threads", run.threads()},
          {"schedule", run.options().schedule == Schedule::staggered ? "staggered" : "sequential"},
          {"decode_mode", settings["decode"]},
          {"head", run.options().head == HeadMode::last ? "last" : "sliced"},
          {"products", settings["kernels"]},
          {"chunk", run.options().chunk},
          {"batch", point.batch},
          {"groups", point.groups},
          {"prompt_tokens", point.prompt},
          {"decode_tokens", point.decode},
          {"depth", point.depth},
          {"repetitions", point.repetitions},
          {"prefill", prefill_of(run, result)},
          {"decode", decode_of(run, result)},
          {"per_rank", ranks_of(run, result)},
          {"provenance", provenance}};
}

}  // namespace stagformer::internal
