#include "pipeline/simulation.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/thread_team.hpp"
#include "comm/simulated_world.hpp"
#include "pipeline/engine.hpp"
#include "pipeline/step_cost.hpp"

namespace stagformer::internal {
namespace {

constexpr std::int64_t kSteps = 24, kSteady = 8;  // the last ones count; the first ones fill the pipeline

/// Buffers for the few positions of the simulation; what a step costs is the work's affair.
EngineOptions small(EngineOptions options, const BenchPoint& point) {
  options.emulated = true;
  options.slots = static_cast<int>(point.batch);
  options.context = kSteps;
  options.chunk = 1;
  return options;
}

/// Runs the steps and returns when the rank was through each of them.
std::vector<double> run_steps(Transport& transport, Engine& engine, std::int64_t batch, DecodeMode decode) {
  std::vector<Row> rows(static_cast<std::size_t>(batch));
  std::vector<ReadoutRow> readouts(rows.size());
  const std::vector<std::int32_t> tokens(rows.size(), 0);
  std::vector<double> times;
  for (std::int64_t step = 0; step < kSteps; ++step) {
    for (std::size_t b = 0; b < rows.size(); ++b) {
      rows[b] = {static_cast<int>(b), step};
      readouts[b].row = static_cast<std::int32_t>(b);
    }
    engine.run_sections({rows, tokens, readouts, step_kind(decode)});
    static_cast<void>(engine.read_out());
    times.push_back(transport.now());
  }
  engine.drain();
  return times;
}

}  // namespace

double simulated_step_seconds(const CheckpointIndex& index, const Grid& grid, const EngineOptions& options,
                              const BenchPoint& point, const Machine& machine) {
  const std::vector<RankWork> work = decode_work(index, grid, options, point, machine);
  const EngineOptions own = small(options, point);
  const SimulatedLink link{[&](double bytes) { return machine.link.latency_s(bytes); },
                           [&](double bytes) { return machine.link.gap_s(bytes); }};
  double begin = 0, end = 0;  // the last rank to be through a step; only one rank runs at a time
  run_simulated_ranks(grid.ranks_per_replica(), link, [&](Transport& transport) {
    const ThreadTeam team(1);
    const RankPart part = rank_part(index.config, grid, transport.rank(), own.head);
    const RankModel model(index, part);
    Engine engine(transport, grid, model, own, team, 0, 0);
    engine.emulate({work[static_cast<std::size_t>(transport.rank())], {}, 1});
    const std::vector<double> times = run_steps(transport, engine, point.batch, own.decode);
    begin = std::max(begin, times[kSteps - kSteady - 1]);
    end = std::max(end, times.back());
  });
  return (end - begin) / kSteady;
}

}  // namespace stagformer::internal
