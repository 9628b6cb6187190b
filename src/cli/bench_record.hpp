// One point of a benchmark as a record: what was run, how fast it was, and what the machine would give.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/model_run.hpp"
#include "pipeline/benchmark.hpp"
#include "pipeline/benchmark_cost.hpp"
#include "pipeline/machine_speed.hpp"

namespace stagformer::internal {

/// What one rank gives to a record. Plain memory: sent as it is.
struct BenchRankFigures {
  MachineSpeed machine;
  StepBytes bytes;
  BenchSample prefill, decode;  ///< of the repetition with the median time
};

/// A measured point, gathered on all ranks.
struct BenchResult {
  BenchPoint point;
  std::vector<double> prefill_s, decode_s;   ///< of the repetitions: the slowest rank's
  double step_median_s = 0, step_p99_s = 0;  ///< rank 0's
  double prefill_operations = 0;             ///< of one replica
  std::uint64_t token_digest = 0;            ///< of replica 0
  std::vector<BenchRankFigures> ranks;
};

/// Collective: gathers what the ranks measured.
BenchResult gather_result(ModelRun& run, const BenchPoint& point, const BenchSamples& samples,
                          const MachineSpeed& machine);

/// `threads`, `schedule`, `decode`, `head` and the like come from the run. Speeds: GB = 1e9 bytes.
nlohmann::ordered_json record_of(const ModelRun& run, const BenchResult& result,
                                 const nlohmann::json& provenance, const nlohmann::json& settings);

}  // namespace stagformer::internal
