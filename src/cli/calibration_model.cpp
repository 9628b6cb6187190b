#include "cli/calibration_model.hpp"

#include <spdlog/spdlog.h>

#include <cmath>

#include "cli/model_source.hpp"
#include "cli/signals.hpp"
#include "pipeline/agreement.hpp"

namespace stagformer::internal {
namespace {

constexpr double kSecondsAPoint = 0.06;
constexpr std::int64_t kLeastSteps = 4, kMostSteps = 400;
constexpr std::int64_t kCheapRows = 8;  // take about as long as one: more of them get fewer steps
constexpr double kGuessedRate = 10e9, kGuessedOverhead = 1e-5;  // bytes a second, seconds a step

/// The log of a run that is one of many measurements is of no interest.
class Quiet {
 public:
  Quiet() : level_(spdlog::get_level()) { spdlog::set_level(std::max(level_, spdlog::level::warn)); }
  ~Quiet() { spdlog::set_level(level_); }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;

 private:
  spdlog::level::level_enum level_;
};

/// Ranks that take turns are one replica's.
BenchSettings in_turns(BenchSettings settings, int turns) {
  settings.run.replicas = settings.run.replicas.value_or(turns) / turns;
  return settings;
}

}  // namespace

CalibrationShape CalibrationShape::of(double bytes, NumberFormat format, std::int64_t width) {
  CalibrationShape shape;
  shape.width = width;
  shape.inner = 3 * width;
  shape.layers = std::max<std::int64_t>(1, std::llround(bytes / shape.bytes(format)));
  return shape;
}

CalibrationShape CalibrationShape::of(double bytes, NumberFormat format) {
  return of(bytes, format, bytes < 8 << 20 ? 128 : bytes < 32 << 20 ? 256 : 512);
}

double CalibrationShape::bytes(NumberFormat format) const {
  const std::int64_t rows_a_layer = 3 * width + 3 * inner;  // of so many values as the model is wide
  return static_cast<double>(layers * sections * rows_a_layer * stored_row_bytes(format, width));
}

std::string CalibrationShape::json() const {
  nlohmann::json parts = {{"count", sections * turns}, {"layers_per_section", layers}};
  if (turns > 1) parts["links"] = "chained";
  const nlohmann::json config = {{"hidden_size", width},
                                 {"intermediate_size", inner},
                                 {"num_attention_heads", heads()},
                                 {"num_key_value_heads", heads() / 2},
                                 {"vocab_size", vocabulary},
                                 {"max_position_embeddings", 4096},
                                 {"sections", parts}};
  return config.dump();
}

CalibrationModel::CalibrationModel(const MpiSession& session, const BenchSettings& settings,
                                   const std::string& command_line, const CalibrationShape& shape,
                                   NumberFormat format, const CalibrationPoint& at)
    : settings_(in_turns(settings, shape.turns)),
      run_(
          session, settings_.run, [this](SettingsVisitor& v) { settings_.visit(v); }, command_line,
          made_source("calibration", shape.json(), format)) {
  const Quiet quiet;
  const double guess = shape.turns * (shape.bytes(format) / kGuessedRate + kGuessedOverhead);
  point_ = {at.prompt,
            std::clamp<std::int64_t>(std::llround(kSecondsAPoint / guess), kLeastSteps, kMostSteps), 1,
            at.depth, settings_.repetitions};
  run_.open();
  EngineOptions options = settings_.run.engine_options();
  options.slots = static_cast<int>(at.most_batch);
  options.context = point_.context();
  run_.load(options, false);
  benchmark_.emplace(run_.engine(), run_.world(), run_.replica(), run_.config(), run_.options(), 0,
                     [] { return stop_signalled(); });
}

CalibrationParts CalibrationModel::measure(std::int64_t batch) {
  const Quiet quiet;
  BenchPoint point = point_;
  point.batch = batch;
  point.decode = std::max(kLeastSteps, point.decode * kCheapRows / (kCheapRows + batch - 1));
  const BenchSamples samples = benchmark_->run(point, run_.replica_number() * batch);
  if (samples.stopped) throw AgreedError(ExitCode::interrupted, "stopped by a signal");
  CalibrationParts parts = parts_of(samples, point);
  parts.bytes = step_bytes(run_.index(), run_.part(), run_.options(), point);
  parts.operations = prefill_operations(run_.index(), point);
  return parts;
}

CalibrationParts CalibrationModel::parts_of(const BenchSamples& samples, const BenchPoint& point) {
  std::vector<double> layers, cross, feed_forward, head, rest, prompt;
  const auto steps = static_cast<double>(point.decode);
  for (const BenchSample& sample : samples.decode) {
    const auto of = [&](Phase phase) { return sample.phases[static_cast<std::size_t>(phase)] / steps; };
    const double products =
        of(Phase::self_attention) + of(Phase::feed_forward) + of(Phase::memory_projection);
    cross.push_back(of(Phase::cross_attention));
    feed_forward.push_back(of(Phase::feed_forward));
    layers.push_back(products + cross.back());
    head.push_back(of(Phase::head));
    rest.push_back(sample.seconds / steps - layers.back() - head.back());
  }
  for (const BenchSample& sample : samples.prefill) prompt.push_back(sample.seconds);
  return {slowest(layers),
          slowest(cross),
          slowest(feed_forward),
          slowest(head),
          slowest(rest),
          slowest(prompt),
          {},
          0};
}

/// The slowest rank's least time: whatever else runs on a host now and then only ever adds.
double CalibrationModel::slowest(const std::vector<double>& seconds) {
  const std::vector<double> all = gather_values(run_.world(), *std::ranges::min_element(seconds));
  return *std::ranges::max_element(all);
}

}  // namespace stagformer::internal
