#include "cli/calibration.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>

#include "base/build_info.hpp"
#include "base/host_info.hpp"
#include "cli/calibration_model.hpp"
#include "cli/report.hpp"
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
constexpr std::int64_t kFarDepth = 1536, kPrompt = 256;

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

  /// Collective.
  CalibrationModel model(const CalibrationShape& shape, NumberFormat format,
                         const CalibrationPoint& at = {}) {
    return CalibrationModel(session_, settings_, command_line_, shape, format, at);
  }
  CalibrationParts measure(const CalibrationShape& shape, NumberFormat format,
                           const CalibrationPoint& at = {}) {
    CalibrationModel measured = model(shape, format, at);
    threads_ = measured.threads();
    instruction_set_ = measured.instruction_set();
    return measured.measure();
  }

  /// What a step costs where there is next to nothing to multiply.
  void overheads(Machine& machine) {
    const CalibrationParts few = measure({.layers = 4}, NumberFormat::f32),
                           many = measure({.layers = 36}, NumberFormat::f32);
    const CalibrationParts words = measure({.layers = 4, .vocabulary = 32768}, NumberFormat::f32);
    machine.layer_s = (many.layers_s - few.layers_s) / 32;
    // The tiny matrices are in the nearest cache: what they cost is part of it.
    machine.choice_s = few.rest_s;
    machine.choice_s_per_token = std::max(0.0, (words.rest_s - few.rest_s) / (32768 - 512));
  }

  static double product_seconds(const Machine& machine, const CalibrationParts& parts,
                                const CalibrationShape& shape) {
    return std::max(parts.layers_s - machine.layer_s * static_cast<double>(shape.layers),
                    parts.layers_s / 10);
  }

  /// How many ranks take turns in a model for such a measurement.
  int turns(AtWork at_work) const { return at_work == AtWork::one ? world_->size() : 1; }

  /// Of the feed-forward products, as nothing else goes on there. One row and several take turns, so that
  /// both see the memory as fast as it then is.
  Curve row_factor(NumberFormat format, double bytes, AtWork at_work) {
    CalibrationShape shape = CalibrationShape::of(std::min(bytes, most_bytes_), format, kRowWidth);
    shape.turns = turns(at_work);
    CalibrationModel measured = model(shape, format, {.most_batch = std::ranges::max(kRowCounts)});
    std::vector<Curve::Point> points{{1, 1}};
    for (const std::int64_t rows : kRowCounts) {
      const double one = measured.measure(1).feed_forward_s;
      const double factor = measured.measure(rows).feed_forward_s / one;
      points.push_back({static_cast<double>(rows), std::max(factor, points.back().y)});
    }
    return Curve(points);
  }

  /// What the rows of a batch cost beside their products: what attention blocks take more for several rows,
  /// less what their matrices do.
  void further_rows(Machine& machine) {
    constexpr std::int64_t kRows = 8;
    const CalibrationShape shape{.width = kRowWidth, .inner = kRowWidth, .layers = 8};
    CalibrationModel measured = model(shape, NumberFormat::q8_0, {.depth = 1, .most_batch = kRows});
    const CalibrationParts one = measured.measure(1), many = measured.measure(kRows);
    const double of_products =
        many.feed_forward_s - one.feed_forward_s;  // as many bytes as in the attention's
    machine.layer_row_s = std::max(0.0, many.attention_s() - one.attention_s() - of_products) /
                          static_cast<double>((kRows - 1) * shape.layers);
  }

  Curve read_s_per_byte(const Machine& machine, NumberFormat format, AtWork at_work) {
    std::vector<Curve::Point> read;
    for (double target = kLeastRead; target <= kMostRead; target *= 2) {
      if (target > most_bytes_ && !read.empty()) break;
      CalibrationShape shape = CalibrationShape::of(target, format);
      shape.turns = turns(at_work);
      const CalibrationParts parts = measure(shape, format);
      const auto bytes = static_cast<double>(parts.bytes.total());
      if (!read.empty() && bytes <= read.back().x) continue;
      read.push_back({bytes, product_seconds(machine, parts, shape) / shape.bytes(format)});
    }
    return Curve(read);
  }

  ReadSpeed reading(const Machine& machine, NumberFormat format, AtWork at_work) {
    return {read_s_per_byte(machine, format, at_work), row_factor(format, ReadSpeed::kNearBytes, at_work),
            row_factor(format, ReadSpeed::kFarBytes, at_work)};
  }

  FormatSpeed products(const Machine& machine, NumberFormat format) {
    FormatSpeed speed;
    speed.format = format;
    speed.together = speed.alone = reading(machine, format, AtWork::all);
    if (world_->size() > 1) speed.alone = reading(machine, format, AtWork::one);
    const CalibrationParts prompt =
        measure(CalibrationShape::of(std::min(kPromptTarget, most_bytes_), format), format,
                {.depth = kPrompt, .prompt = kPrompt});
    speed.operations_per_s = prompt.operations / prompt.prompt_s;
    return speed;
  }

  void depth(Machine& machine) {
    const CalibrationShape shape{.width = 256, .inner = 256, .layers = 8};
    const CalibrationParts near = measure(shape, NumberFormat::bf16),
                           far = measure(shape, NumberFormat::bf16, {.depth = kFarDepth});
    machine.cache_s_per_byte = std::max(0.0, far.layers_s - near.layers_s) /
                               static_cast<double>(far.bytes.caches - near.bytes.caches);
  }

  void cross(Machine& machine) {
    const CalibrationParts parts = measure({.layers = 16, .sections = 2}, NumberFormat::f32);
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
      "| weights | GB/s in steps of 1 MiB | 16 MiB | 256 MiB | the same, one rank alone | a step of 8 rows "
      "over 1 "
      "| prompts GFLOP/s |\n"
      "|---|---|---|---|---|---|---|\n";
  for (const FormatSpeed& f : m.formats) {
    const auto rate = [](const ReadSpeed& speed, double bytes) {
      return 1e-9 / speed.read_s_per_byte.at(bytes);
    };
    std::snprintf(line, sizeof line, "| %s | %.1f | %.1f | %.1f | %.1f | %.2f | %.0f |\n", name_of(f.format),
                  rate(f.together, 1 << 20), rate(f.together, 16 << 20), rate(f.together, 256 << 20),
                  rate(f.alone, 256 << 20), f.together.row_factor.at(8), f.operations_per_s * 1e-9);
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
