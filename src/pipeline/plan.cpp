#include "pipeline/plan.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <numeric>

#include "base/text_table.hpp"
#include "pipeline/benchmark_cost.hpp"
#include "pipeline/rank_model.hpp"
#include "pipeline/step_cost.hpp"

namespace stagformer::internal {
namespace {

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

}  // namespace

GridPlan plan_grid(const CheckpointIndex& index, const Grid& grid, const PlanRequest& request,
                   const Machine& machine) {
  GridPlan plan;
  plan.grid = grid;
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
  options.schedule = Schedule::sequential;
  plan.sequential_s = decode_timeline(decode_work(index, grid, options, request.point, machine), messages,
                                      plan.head, machine.link)
                          .step_s;
  const std::int64_t chunks = (request.point.prompt + options.chunk - 1) / options.chunk;
  plan.prompt_s =
      prompt_seconds(chunk_work(index, grid, options, request.point, machine),
                     messages_of(index.config, options, std::min(options.chunk, request.point.prompt), batch),
                     plan.head, machine.link, chunks * batch);
  plan.tokens_per_s = static_cast<double>(batch * grid.replicas) / plan.staggered_s;
  return plan;
}

std::vector<std::string> advice(const ModelConfig& config, const std::vector<GridPlan>& plans) {
  std::vector<std::string> lines;
  const auto fastest = std::ranges::min_element(plans, {}, &GridPlan::staggered_s);
  const auto most = std::ranges::max_element(
      plans, {}, [](const GridPlan& p) { return p.tokens_per_s / static_cast<double>(p.grid.world); });
  const auto of = [](const GridPlan& p) {
    return std::to_string(p.grid.world) + " rank(s) of " + std::to_string(p.threads) + " thread(s) on " +
           p.machine;
  };
  if (plans.size() > 1) {
    lines.push_back("Least time a token: " + of(*fastest) + ", " + fixed(fastest->staggered_s * 1e3, 3) +
                    " ms.");
    lines.push_back("Most tokens a second and rank: " + of(*most) + ", " +
                    fixed(most->tokens_per_s / most->grid.world, 1) + " each.");
  }
  const double share = fastest->waiting_s / fastest->staggered_s;
  if (fastest->grid.ranks_per_replica() > 1 && share > 0.3)
    lines.push_back(
        "There the ranks wait for " + fixed(100 * share, 0) +
        " % of a step: fewer ranks a replica, or several sequences at a time, would use them better.");
  const bool chained = std::ranges::any_of(config.sections.links, [](Link l) { return l == Link::chained; });
  if (chained && fastest->grid.ranks_per_replica() > 1)
    lines.push_back(
        "Chained links make a token go through the ranks one after another: only staggered sections gain "
        "from ranks.");
  return lines;
}

}  // namespace stagformer::internal
