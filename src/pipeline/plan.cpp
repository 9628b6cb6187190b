#include "pipeline/plan.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <numeric>

#include "base/text_table.hpp"
#include "pipeline/benchmark_cost.hpp"
#include "pipeline/rank_model.hpp"
#include "pipeline/simulation.hpp"
#include "pipeline/step_cost.hpp"
#include "pipeline/tensor_parallel.hpp"

namespace stagformer::internal {
namespace {

constexpr double kNearlyAsFast = 1.1, kMuchWaiting = 0.3;

std::string milliseconds(double seconds) {
  return fixed(seconds * 1e3, 3) + " ms";
}

std::string name_of(const GridPlan& p) {
  return std::to_string(p.grid.sections) + " section(s) on " + std::to_string(p.grid.ranks_per_replica()) +
         " rank(s) of " + std::to_string(p.threads) + " thread(s), machine '" + p.machine + "'";
}

/// Messages that the busiest rank sends in a step: the last one begins the tree, every one takes part in the
/// exchange of candidates, all but the last one pass hidden states on.
void count_messages(const StepMessages& messages, int ranks, GridPlan& plan) {
  if (ranks == 1) return;
  const int rounds = std::bit_width(static_cast<unsigned>(ranks - 1));
  const bool sliced = plan.head != HeadMode::last;
  const double tree = sliced ? messages.z : messages.record;
  double bytes = rounds * tree + (ranks > 2 ? messages.hidden : 0);
  plan.messages = rounds + (ranks > 2 ? 1 : 0);
  if (sliced) {
    plan.messages += rounds;
    bytes += messages.record * (ranks - 1);
  }
  plan.message_bytes = std::llround(bytes);
}

void count_bytes(const CheckpointIndex& index, const PlanRequest& request, GridPlan& plan) {
  for (int rank = 0; rank < plan.grid.ranks_per_replica(); ++rank) {
    EngineOptions options = request.options;
    options.threads = plan.threads;
    const RankPart part = rank_part(index.config, plan.grid, rank, plan.head);
    const MemoryPlan memory = RankModel::plan(index, part, options);
    plan.weight_bytes = std::max(plan.weight_bytes, step_bytes(index, part, options, request.point).weights);
    plan.cache_bytes = std::max(plan.cache_bytes, memory.caches);
    plan.memory_bytes = std::max(plan.memory_bytes, memory.total());
  }
}

/// Each rank works on another group's rows, which is what staggered sections do with rows of one step: a rank
/// never waits for what was made in the same round.
double filled_rate(const CheckpointIndex& index, const Grid& grid, const EngineOptions& options,
                   BenchPoint point, const Machine& machine) {
  const std::int64_t groups = grid.ranks_per_replica();
  if (groups == 1 || point.batch < groups) return 0;
  const double sequences = static_cast<double>(point.batch) / static_cast<double>(groups);
  point.batch = std::llround(sequences);
  point.groups = groups;
  std::vector<RankWork> work = decode_work(index, grid, options, point, machine);
  for (RankWork& rank : work) rank.waits = false;
  const Timeline round = decode_timeline(work, messages_of(index.config, options, point.batch, point.batch),
                                         options.head, machine.link);
  return sequences * grid.replicas / round.step_s;
}

bool has_chained_links(const ModelConfig& config, const Grid& grid) {
  for (int rank = 1; rank < grid.ranks_per_replica(); ++rank)
    if (config.sections.links[static_cast<std::size_t>(grid.first_section(rank) - 1)] == Link::chained)
      return true;
  return false;
}

}  // namespace

GridPlan plan_grid(const CheckpointIndex& index, const Grid& grid, const PlanRequest& request,
                   const Machine& machine) {
  GridPlan plan;
  plan.grid = grid;
  plan.chained = has_chained_links(index.config, grid);
  plan.machine = machine.name;
  plan.threads = machine.threads;
  EngineOptions options = request.options;
  options.head = plan.head = chosen_head(index, grid, options, request.point, machine);
  count_bytes(index, request, plan);
  const std::int64_t batch = request.point.batch;
  const StepMessages messages = messages_of(index.config, options, batch, batch);
  count_messages(messages, grid.ranks_per_replica(), plan);

  const Timeline staggered = decode_timeline(decode_work(index, grid, options, request.point, machine),
                                             messages, plan.head, machine.link);
  plan.staggered_s = staggered.step_s;
  plan.waiting_s = std::accumulate(staggered.waits_s.begin(), staggered.waits_s.end(), 0.0) /
                   static_cast<double>(staggered.waits_s.size());
  EngineOptions sequential = options;
  sequential.schedule = Schedule::sequential;
  plan.sequential_s = decode_seconds(index, grid, sequential, request.point, machine);
  plan.filled_tokens_per_s = filled_rate(index, grid, sequential, request.point, machine);
  if (request.simulate) {
    plan.simulated_s = simulated_step_seconds(index, grid, options, request.point, machine);
    plan.simulated_sequential_s = simulated_step_seconds(index, grid, sequential, request.point, machine);
  }
  const std::int64_t chunks = (request.point.prompt + options.chunk - 1) / options.chunk;
  plan.prompt_s =
      prompt_seconds(chunk_work(index, grid, options, request.point, machine),
                     messages_of(index.config, options, std::min(options.chunk, request.point.prompt), batch),
                     plan.head, machine.link, chunks * batch);
  plan.tokens_per_s = static_cast<double>(batch * grid.replicas) / plan.staggered_s;
  if (grid.ranks_per_replica() > 1)
    plan.tensor_parallel_s =
        tensor_parallel_seconds(index, grid.ranks_per_replica(), options, request.point, machine);
  return plan;
}

std::vector<std::string> advice(const std::vector<GridPlan>& plans) {
  std::vector<std::string> lines;
  const auto cores = [](const GridPlan& p) { return static_cast<double>(p.grid.world) * p.threads; };
  const GridPlan& fastest = *std::ranges::min_element(plans, {}, &GridPlan::staggered_s);
  if (plans.size() > 1) {
    lines.push_back("Least time a token: " + name_of(fastest) + ", " + milliseconds(fastest.staggered_s) +
                    ".");
    const GridPlan* smallest = &fastest;
    for (const GridPlan& p : plans)
      if (p.staggered_s <= kNearlyAsFast * fastest.staggered_s && cores(p) < cores(*smallest)) smallest = &p;
    if (smallest != &fastest)
      lines.push_back("Nearly as fast with fewer cores: " + name_of(*smallest) + ", " +
                      milliseconds(smallest->staggered_s) + ".");
    const GridPlan& most =
        *std::ranges::max_element(plans, {}, [&](const GridPlan& p) { return p.tokens_per_s / cores(p); });
    lines.push_back("Most tokens a second and core, for many prompts: replicas of " + name_of(most) + ", " +
                    fixed(most.tokens_per_s / cores(most), 1) + " a core.");
  }
  if (fastest.grid.ranks_per_replica() > 1 && fastest.waiting_s > kMuchWaiting * fastest.staggered_s)
    lines.push_back(
        "With " + name_of(fastest) + " the ranks wait for " +
        fixed(100 * fastest.waiting_s / fastest.staggered_s, 0) +
        " % of a step: fewer ranks a replica, or several sequences at a time, would use them better.");
  if (fastest.chained)
    lines.push_back(
        "Chained links make a token go through the ranks one after another: only staggered sections gain "
        "from ranks.");
  return lines;
}

}  // namespace stagformer::internal
