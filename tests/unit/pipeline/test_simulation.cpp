// The engine's own steps in virtual time beside the timeline that predicts them: two ways to the same number,
// one of which runs the code.
#include "pipeline/simulation.hpp"

#include <gtest/gtest.h>

#include "checkpoint/made_tensors.hpp"
#include "pipeline/plan.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

CheckpointIndex model(int sections, const std::string& rest = "}}") {
  return random_index(
      R"({"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 2, "vocab_size": 2048,
    "max_position_embeddings": 256, "sections": {"layers_per_section": 2, "count": )" +
          std::to_string(sections) + rest,
      NumberFormat::f32, 0);
}

/// A section takes about 0.2 ms.
Machine machine(double latency_s) {
  Machine machine = Machine::built_in_machine();
  for (FormatSpeed& speed : machine.formats)
    speed.together.read_s_per_byte = speed.alone.read_s_per_byte = Curve({{1, 1e-9}});
  machine.link = LinkModel({{0, latency_s, 1e-6}, {1 << 20, latency_s + 1e-4, 1e-4}});
  return machine;
}

/// Steps of both schedules, as the timeline and as the simulation have them.
void compare(const CheckpointIndex& index, int ranks, HeadMode head, double latency_s, double tolerance) {
  PlanRequest request;
  request.options.head = head;
  request.options.context = 64;
  request.point = {32, 1, 2, 32, 1};
  request.simulate = true;
  const Grid grid = make_grid(ranks, index.config.sections.count);
  const GridPlan plan = plan_grid(index, grid, request, machine(latency_s));
  const std::string where = std::to_string(ranks) + " ranks, latency " + std::to_string(latency_s) +
                            (head == HeadMode::last ? ", last" : ", sliced");
  EXPECT_NEAR(plan.simulated_s / plan.staggered_s, 1, tolerance) << where;
  EXPECT_NEAR(plan.simulated_sequential_s / plan.sequential_s, 1, tolerance) << where;
}

TEST(Simulation, GivesTheTimelinesStep) {
  for (const int ranks : {1, 2, 3, 4, 5, 6, 7, 8, 16, 33})
    for (const HeadMode head : {HeadMode::sliced, HeadMode::last})
      for (const double latency_s : {2e-6, 100e-6, 1e-3}) compare(model(ranks), ranks, head, latency_s, 0.01);
}

TEST(Simulation, OfOtherModels) {
  for (const double latency_s : {2e-6, 100e-6, 1e-3}) {
    compare(model(6), 2, HeadMode::sliced, latency_s, 0.01);  // three sections a rank
    compare(model(4, R"(, "links": "chained"}})"), 4, HeadMode::sliced, latency_s, 0.01);
    compare(model(4, R"(, "links": ["staggered", "chained", "staggered"]}})"), 4, HeadMode::last, latency_s,
            0.01);
    compare(model(4, R"(, "cross_attention": {"window": 1}}})"), 4, HeadMode::sliced, latency_s, 0.01);
    compare(model(4, R"(, "weights": "shared"}})"), 2, HeadMode::sliced, latency_s, 0.01);
    // Ranks inside of the sum may find the time to make memory in between, or not.
    for (const HeadMode head : {HeadMode::sliced, HeadMode::last})
      compare(model(6, R"(, "readout": "linear_combination"}})"), 6, head, latency_s, 0.04);
  }
}

TEST(Simulation, ManySections) {
  compare(model(256), 256, HeadMode::sliced, 20e-6, 0.01);
}

TEST(Simulation, IsTheSameEveryTime) {
  const CheckpointIndex index = model(8);
  EngineOptions options;
  options.head = HeadMode::sliced;
  options.context = 64;
  const auto step = [&] {
    return simulated_step_seconds(index, make_grid(8, 8), options, {32, 1, 1, 32, 1}, machine(50e-6));
  };
  EXPECT_EQ(step(), step());
}

}  // namespace
}  // namespace stagformer::internal
