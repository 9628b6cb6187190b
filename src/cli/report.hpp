// What a run tells: the header, the table of ranks, the table of where the time went, and the same as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/phase_clock.hpp"
#include "checkpoint/index.hpp"
#include "comm/transport.hpp"
#include "pipeline/engine.hpp"
#include "pipeline/grid.hpp"
#include "pipeline/run_notes.hpp"

namespace stagformer::internal {

struct RankFacts;

/// Where one rank's time went. Plain memory: sent as it is.
struct RankTimes {
  double seconds = 0;  ///< of the run, loading left out
  PhaseClock::Seconds phases{};
  std::uint64_t messages_sent = 0, bytes_sent = 0;
  std::int64_t passes = 0;
};

RankTimes rank_times(Engine& engine, const Transport& replica, double seconds);

std::vector<std::string> header_lines(const Transport& world, const std::string& command,
                                      const std::string& instruction_set, const std::string& kernels);
std::vector<std::string> model_lines(const CheckpointIndex& index, const Grid& grid);
std::vector<std::string> rank_lines(const std::vector<RankFacts>& ranks);
/// For run_notes().
RunUse run_use(const std::vector<RankTimes>& times, const std::vector<RankFacts>& ranks,
               const ModelConfig& config, const EngineOptions& options);
std::vector<std::string> time_lines(const std::vector<RankTimes>& times, const std::vector<RankFacts>& ranks);

nlohmann::json provenance(const Transport& world, const std::string& command,
                          const std::string& instruction_set);
nlohmann::json model_record(const CheckpointIndex& index, const Grid& grid);
nlohmann::json times_record(const RankTimes& times);

/// Seconds at a percentile (0 to 100) of the values; 0 where there are none.
double percentile(std::vector<float> values, double percent);

}  // namespace stagformer::internal
