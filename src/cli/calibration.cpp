#include "cli/calibration.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>

#include "base/build_info.hpp"
#include "base/host_info.hpp"
#include "cli/model_run.hpp"
#include "cli/model_source.hpp"
#include "cli/report.hpp"
#include "cli/signals.hpp"
#include "pipeline/agreement.hpp"
#include "pipeline/benchmark_cost.hpp"
#include "pipeline/link_speed.hpp"

namespace stagformer::internal {
namespace {

constexpr NumberFormat kFormats[] = {NumberFormat::f32, NumberFormat::bf16, NumberFormat::q8_0,
                                     NumberFormat::q4_0, NumberFormat::q4_1};
constexpr double kMebibyte = 1 << 20;
constexpr double kLeastRead = kMebibyte,
                 kMostRead = 256 * kMebibyte;  // bytes of a step, doubled from the least
constexpr double kPromptTarget = 64 * kMebibyte;
constexpr auto kRowWidth = static_cast<std::int64_t>(Machine::kRowWidth);
constexpr std::int64_t kRowCounts[] = {2, 4, 8, 16, 32};
constexpr std::int64_t kDepth = 32, kFarDepth = 1536, kPrompt = 256;
constexpr double kSecondsAPoint = 0.06;

/// A decoder that is made for one measurement.
struct Shape {
  std::int64_t width = 64, inner = 64, layers = 1, vocabulary = 512;
  int sections = 1;

  std::int64_t heads() const { return width / 32; }
  double bytes(NumberFormat format) const {
    const double a_layer = static_cast<double>(width * (3 * width + 3 * inner));
    return static_cast<double>(layers * sections) * a_layer * bits_of(format) / 8;
  }
  std::string json() const {
    const nlohmann::json config = {{"hidden_size", width},
                                   {"intermediate_size", inner},
                                   {"num_attention_heads", heads()},
                                   {"num_key_value_heads", heads() / 2},
                                   {"vocab_size", vocabulary},
                                   {"max_position_embeddings", 4096},
                                   {"sections", {{"count", sections}, {"layers_per_section", layers}}}};
    return config.dump();
  }
  static double bits_of(NumberFormat format) {
    switch (format) {
      case NumberFormat::f32:
        return 32;
      case NumberFormat::bf16:
        return 16;
      case NumberFormat::q8_0:
        return 8.5;
      case NumberFormat::q4_1:
        return 5;
      case NumberFormat::q4_0:
        return 4.5;
    }
    return 32;
  }
};

/// As many layers as come nearest to so many bytes a step; wider ones for more.
Shape shape_of(double bytes, NumberFormat format) {
  Shape shape;
  shape.width = bytes < 8 << 20 ? 128 : bytes < 32 << 20 ? 256 : 512;
  shape.inner = 3 * shape.width;
  shape.layers = std::max<std::int64_t>(1, std::llround(bytes / shape.bytes(format)));
  return shape;
}

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

/// Seconds of a step's parts on the slowest rank; a prompt's as a whole.
struct Parts {
  double layers_s = 0, cross_s = 0, feed_forward_s = 0, head_s = 0, rest_s = 0, prompt_s = 0;
  StepBytes bytes;
  double operations = 0;  // of the prompt
};

class Calibration {
 public:
  Calibration(const MpiSession& session, const BenchSettings& settings, const std::string& command_line)
      : session_(session), settings_(settings), command_line_(command_line), world_(session.world()) {
    settings_.run.replicas = world_->size();
    settings_.run.checkpoint.reset();
    settings_.run.json.reset();
    settings_.run.trace.reset();
    if (settings_.run.memory_limit)  // of a model, which has caches and buffers beside its weights
      most_bytes_ = static_cast<double>(parse_bytes("memory-limit", *settings_.run.memory_limit)) / 4;
    settings_.run.memory_limit.reset();
  }

  /// Of `base` everything but the links stays, where there is one.
  Machine run(const std::optional<Machine>& base) {
    Machine machine = base ? *base : computing();
    machine.link = measure_link(*world_);
    log("messages measured");
    return machine;
  }

 private:
  Machine computing() {
    Machine machine;
    overheads(machine);
    further_rows(machine);
    for (const NumberFormat format : formats()) {
      machine.formats.push_back(products(machine, format));
      log(name_of(format) + std::string(" measured"));
    }
    depth(machine);
    cross(machine);
    machine.threads = threads_;
    machine.ranks_on_host = session_.local_size();
    const nlohmann::json where = provenance(*world_, command_line_, instruction_set_);
    machine.name = world_->host_name();
    machine.processor = where["cpu"];
    machine.instruction_set = instruction_set_;
    machine.measured =
        std::string("stagformer ") + version() + " (" + build_commit() + "), " + std::string(where["time"]);
    return machine;
  }

  std::vector<NumberFormat> formats() const {
    if (!settings_.weights) return {std::begin(kFormats), std::end(kFormats)};
    std::vector<NumberFormat> wanted;
    for (const BenchSetup& setup : settings_.setups()) wanted.push_back(*setup.weights);
    return wanted;
  }

  void log(const std::string& text) const {
    if (world_->rank() == 0) spdlog::info("{}", text);
  }

  /// Collective: one shape at one depth and batch.
  Parts measure(const Shape& shape, NumberFormat format, std::int64_t depth = kDepth, std::int64_t batch = 1,
                std::int64_t prompt = 1) {
    const Quiet quiet;
    BenchPoint point{prompt, 1, batch, depth, settings_.repetitions};
    const double guess = shape.bytes(format) / 10e9 + 1e-5;
    point.decode = std::clamp<std::int64_t>(std::llround(kSecondsAPoint / guess), 4, 400);
    BenchSettings own = settings_;
    ModelRun run(
        session_, own.run, [&](SettingsVisitor& v) { own.visit(v); }, command_line_,
        made_source("calibration", shape.json(), format));
    run.open();
    EngineOptions options = own.run.engine_options();
    options.slots = static_cast<int>(batch);
    options.context = point.context();
    run.load(options, false);
    threads_ = run.threads();
    instruction_set_ = run.instruction_set();
    Benchmark benchmark(run.engine(), run.world(), run.replica(), run.config(), run.options(), 0,
                        [] { return stop_signalled(); });
    const BenchSamples samples = benchmark.run(point, run.replica_number() * batch);
    if (samples.stopped) throw AgreedError(ExitCode::interrupted, "stopped by a signal");
    Parts parts = parts_of(samples, point);
    parts.bytes = step_bytes(run.index(), run.part(), run.options(), point);
    parts.operations = prefill_operations(run.index(), point);
    return parts;
  }

  Parts parts_of(const BenchSamples& samples, const BenchPoint& point) const {
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
  double slowest(const std::vector<double>& seconds) const {
    const std::vector<double> all = gather_values(*world_, *std::ranges::min_element(seconds));
    return *std::ranges::max_element(all);
  }

  /// What a step costs where there is next to nothing to multiply.
  void overheads(Machine& machine) {
    const Parts few = measure({.layers = 4}, NumberFormat::f32),
                many = measure({.layers = 36}, NumberFormat::f32);
    const Parts words = measure({.layers = 4, .vocabulary = 32768}, NumberFormat::f32);
    machine.layer_s = (many.layers_s - few.layers_s) / 32;
    // The tiny matrices are in the nearest cache: what they cost is part of it.
    machine.choice_s = few.rest_s;
    machine.choice_s_per_token = std::max(0.0, (words.rest_s - few.rest_s) / (32768 - 512));
  }

  static double product_seconds(const Machine& machine, const Parts& parts, const Shape& shape) {
    return std::max(parts.layers_s - machine.layer_s * static_cast<double>(shape.layers),
                    parts.layers_s / 10);
  }

  /// Of the feed-forward products, as nothing else goes on there.
  Curve row_factor(NumberFormat format, double bytes) {
    const Shape shape = shape_of(std::min(bytes, most_bytes_), format);
    const auto seconds = [&](std::int64_t rows) {
      return measure(shape, format, kDepth, rows).feed_forward_s;
    };
    const double one = seconds(1);
    std::vector<Curve::Point> points{{1, 1}};
    for (const std::int64_t rows : kRowCounts)
      points.push_back({static_cast<double>(rows), seconds(rows) / one});
    return Curve(points);
  }

  /// What the rows of a batch cost beside their products: what attention blocks take more for several rows,
  /// less what their matrices do.
  void further_rows(Machine& machine) {
    constexpr std::int64_t kRows = 8;
    const Shape shape{.width = kRowWidth, .inner = kRowWidth, .layers = 8};
    const Parts one = measure(shape, NumberFormat::q8_0, 1),
                many = measure(shape, NumberFormat::q8_0, 1, kRows);
    const auto attention = [](const Parts& parts) { return parts.layers_s - parts.feed_forward_s; };
    const double of_products =
        many.feed_forward_s - one.feed_forward_s;  // as many bytes as in the attention's
    machine.layer_row_s = std::max(0.0, attention(many) - attention(one) - of_products) /
                          static_cast<double>((kRows - 1) * shape.layers);
  }

  FormatSpeed products(const Machine& machine, NumberFormat format) {
    FormatSpeed speed;
    speed.format = format;
    std::vector<Curve::Point> read;
    for (double target = kLeastRead; target <= kMostRead; target *= 2) {
      if (target > most_bytes_ && !read.empty()) break;
      const Shape shape = shape_of(target, format);
      const Parts parts = measure(shape, format);
      const auto bytes = static_cast<double>(parts.bytes.total());
      if (!read.empty() && bytes <= read.back().x) continue;
      read.push_back({bytes, product_seconds(machine, parts, shape) / shape.bytes(format)});
    }
    const Parts prompt =
        measure(shape_of(std::min(kPromptTarget, most_bytes_), format), format, kPrompt, 1, kPrompt);
    speed.read_s_per_byte = Curve(read);
    speed.row_factor = row_factor(format, FormatSpeed::kNearBytes);
    speed.row_factor_far = row_factor(format, FormatSpeed::kFarBytes);
    speed.operations_per_s = prompt.operations / prompt.prompt_s;
    return speed;
  }

  void depth(Machine& machine) {
    const Shape shape{.width = 256, .inner = 256, .layers = 8};
    const Parts near = measure(shape, NumberFormat::bf16),
                far = measure(shape, NumberFormat::bf16, kFarDepth);
    machine.cache_s_per_byte = std::max(0.0, far.layers_s - near.layers_s) /
                               static_cast<double>(far.bytes.caches - near.bytes.caches);
  }

  void cross(Machine& machine) {
    const Parts parts = measure({.layers = 16, .sections = 2}, NumberFormat::f32);
    machine.cross_s = parts.cross_s / 16;
  }

  const MpiSession& session_;
  BenchSettings settings_;
  std::string command_line_;
  std::unique_ptr<Transport> world_;
  double most_bytes_ = 1e18;
  int threads_ = 1;
  std::string instruction_set_;
};

}  // namespace

std::string machine_table(const Machine& m) {
  char line[256];
  std::string text = "machine " + m.name + ": " + m.processor + ", " + m.instruction_set + ", " +
                     std::to_string(m.threads) + " thread(s) a rank, " + std::to_string(m.ranks_on_host) +
                     " rank(s) on the host\n";
  std::snprintf(
      line, sizeof line,
      "a layer beside its products %.2f us, cross-attention %.2f us, choice %.1f us, caches %.1f GB/s\n\n",
      m.layer_s * 1e6, m.cross_s * 1e6, m.choice_s * 1e6, 1e-9 / std::max(m.cache_s_per_byte, 1e-15));
  text += line;
  text +=
      "| weights | GB/s in steps of 1 MiB | 16 MiB | 256 MiB | a step of 8 rows over 1 | prompts GFLOP/s |\n"
      "|---|---|---|---|---|---|\n";
  for (const FormatSpeed& f : m.formats) {
    const auto rate = [&](double bytes) { return 1e-9 / f.read_s_per_byte.at(bytes); };
    std::snprintf(line, sizeof line, "| %s | %.1f | %.1f | %.1f | %.2f | %.0f |\n", name_of(f.format),
                  rate(1 << 20), rate(16 << 20), rate(256 << 20), f.row_factor.at(8),
                  f.operations_per_s * 1e-9);
    text += line;
  }
  text += "\n| message bytes | latency us | gap us |\n|---|---|---|\n";
  for (const LinkPoint& p : m.link.points()) {
    std::snprintf(line, sizeof line, "| %.0f | %.2f | %.2f |\n", p.bytes, p.latency_s * 1e6, p.gap_s * 1e6);
    text += line;
  }
  return text;
}

Machine calibrate(const MpiSession& session, const BenchSettings& settings, const std::string& command_line,
                  const std::optional<Machine>& base) {
  return Calibration(session, settings, command_line).run(base);
}

}  // namespace stagformer::internal
