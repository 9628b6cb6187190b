// A small random model that runs in the engine for one measurement of bench --calibrate.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/bench_settings.hpp"
#include "cli/model_run.hpp"
#include "comm/mpi_session.hpp"
#include "pipeline/benchmark.hpp"
#include "pipeline/benchmark_cost.hpp"
#include "stagformer/number_format.hpp"

namespace stagformer::internal {

/// A decoder that is made for one measurement: each rank runs one of its own, or a part of one.
struct CalibrationShape {
  std::int64_t width = 64, inner = 64, layers = 1, vocabulary = 512;
  int sections = 1;  ///< with so many layers each, on one rank
  int turns = 1;     ///< ranks that hold a chained section each and compute one after another

  /// As many layers of a width as come nearest to so many bytes a step.
  static CalibrationShape of(double bytes, NumberFormat format, std::int64_t width);
  /// Wider ones for more.
  static CalibrationShape of(double bytes, NumberFormat format);

  /// Of 64 channels, as most models have them.
  std::int64_t heads() const { return std::max<std::int64_t>(2, width / 64); }
  /// On one rank.
  double bytes(NumberFormat format) const;
  std::string json() const;
};

/// What a model is measured with.
struct CalibrationPoint {
  std::int64_t depth = 32, most_batch = 1, prompt = 1;
};

/// Seconds of a step's parts on the slowest rank; a prompt's as a whole.
struct CalibrationParts {
  double layers_s = 0, cross_s = 0, feed_forward_s = 0, head_s = 0, rest_s = 0, prompt_s = 0;
  StepBytes bytes;
  double operations = 0;  ///< of the prompt

  double attention_s() const { return layers_s - feed_forward_s; }  ///< with its products
};

class CalibrationModel {
 public:
  /// Collective: loads it, on every rank of the job. `settings`: threads, kernels and the like;
  /// repetitions of a measurement.
  CalibrationModel(const MpiSession& session, const BenchSettings& settings, const std::string& command_line,
                   const CalibrationShape& shape, NumberFormat format, const CalibrationPoint& at = {});

  /// Collective: decode steps of so many sequences, and a prompt. Throws AgreedError when a signal came.
  CalibrationParts measure(std::int64_t batch = 1);

  int threads() const { return run_.threads(); }
  const std::string& instruction_set() const { return run_.instruction_set(); }

 private:
  CalibrationParts parts_of(const BenchSamples& samples, const BenchPoint& point);
  double slowest(const std::vector<double>& seconds);

  BenchSettings settings_;
  ModelRun run_;
  BenchPoint point_;
  std::optional<Benchmark> benchmark_;
};

}  // namespace stagformer::internal
