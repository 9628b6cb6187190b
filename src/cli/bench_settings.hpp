// What bench is asked for: lists of values, and all their combinations.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/run_settings.hpp"
#include "pipeline/benchmark.hpp"
#include "stagformer/number_format.hpp"

namespace stagformer::internal {

/// What needs a model loaded anew.
struct BenchSetup {
  std::optional<NumberFormat> weights;  ///< nothing: as stored
  std::optional<std::int64_t> threads;  ///< nothing: the default
  std::string schedule;
};

struct BenchSettings {
  RunSettings run;
  std::optional<std::string> random;
  std::optional<std::string> prompt_tokens = "512", decode_tokens = "128", depth, batch = "1", groups = "1",
                             threads, schedule = "staggered", weights;
  std::int64_t repetitions = 5;
  std::int64_t seed = 0;
  std::string format = "md";
  std::optional<std::string> calibrate, machine, emulate;

  void visit(SettingsVisitor& v);
  /// Throws UsageError for a list that is none, and for flags that do not go together.
  void check() const;

  std::vector<BenchSetup> setups() const;
  /// The points that are run with each setup.
  std::vector<BenchPoint> points() const;
};

}  // namespace stagformer::internal
