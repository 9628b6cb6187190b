// Machine files, and what a step is said to cost: against sums by hand and against the bytes that bench
// counts.
#include "pipeline/plan.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "checkpoint/made_tensors.hpp"
#include "pipeline/benchmark_cost.hpp"
#include "pipeline/step_cost.hpp"
#include "pipeline/tensor_parallel.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

constexpr const char* kShape = R"({"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 2,
  "vocab_size": 512, "max_position_embeddings": 4096, "sections": {"count": 4, "layers_per_section": 3)";

CheckpointIndex model(const std::string& rest = "}}", NumberFormat format = NumberFormat::f32) {
  return random_index(std::string(kShape) + rest, format, 0);
}

const ReadSpeed kOneSecond{Curve({{1, 1}}), Curve({{1, 1}}), Curve({{1, 1}})};

/// A byte of weights takes 1 s, everything else nothing.
Machine bytes_only() {
  Machine machine;
  machine.name = "bytes";
  machine.measured = "by hand";
  for (const NumberFormat format : {NumberFormat::f32, NumberFormat::q8_0})
    machine.formats.push_back({format, kOneSecond, kOneSecond, 1});
  machine.link = LinkModel({{0, 0, 0}});
  return machine;
}

EngineOptions options_with(HeadMode head = HeadMode::sliced) {
  EngineOptions options;
  options.head = head;
  options.context = 128;
  return options;
}

const BenchPoint kPoint{64, 1, 1, 100, 1};

double seconds_of(const RankWork& work) {
  return work.layers_s + work.absorb_s + work.head_s;
}

TEST(StepCost, ReadsEveryMatrixThatTheStepReads) {
  for (const char* rest : {"}}", R"(, "weights": "shared"}})", R"(, "cross_attention": {"window": 1}}})",
                           R"(, "links": "chained"}})"}) {
    const CheckpointIndex index = model(rest);
    for (const int ranks : {1, 2, 4}) {
      const Grid grid = make_grid(ranks, 4);
      const EngineOptions options = options_with();
      const auto work = decode_work(index, grid, options, kPoint, bytes_only());
      for (int rank = 0; rank < ranks; ++rank) {
        const RankPart part = rank_part(index.config, grid, rank, HeadMode::sliced);
        const auto bytes = static_cast<double>(step_bytes(index, part, options, kPoint).weights);
        const double norms =
            64.0 * 4 * 3 * 3 * (part.sections + 1);  // an upper bound: vectors are not counted
        EXPECT_LE(seconds_of(work[static_cast<std::size_t>(rank)]), bytes) << rest << ranks;
        EXPECT_GE(seconds_of(work[static_cast<std::size_t>(rank)]), bytes - norms) << rest << ranks;
      }
    }
  }
}

TEST(StepCost, SharedWeightsAreReadOnceWhereSectionsRunTogether) {
  const CheckpointIndex shared = model(R"(, "weights": "shared"}})");
  EngineOptions options = options_with();
  const auto layers = [&] {
    return decode_work(shared, make_grid(1, 4), options, kPoint, bytes_only())[0].layers_s;
  };
  const double together = layers();
  options.schedule = Schedule::sequential;
  EXPECT_GT(layers(), 2 * together);
}

TEST(StepCost, MemoryOfAnotherRankIsMadeApart) {
  const CheckpointIndex index = model();
  const auto work = decode_work(index, make_grid(4, 4), options_with(), kPoint, bytes_only());
  const double keys_and_values = 3 * 2 * 64 * 64 * 4;  // layers x matrices x d x G a x bytes
  EXPECT_EQ(work[0].absorb_s, 0);
  EXPECT_EQ(work[1].absorb_s, keys_and_values);
  EXPECT_FALSE(work[1].waits);
  EXPECT_EQ(decode_work(index, make_grid(1, 4), options_with(), kPoint, bytes_only())[0].absorb_s, 0);
}

TEST(StepCost, RanksWaitWhereLinksAreChainedOrTheScheduleSaysSo) {
  EngineOptions options = options_with();
  EXPECT_TRUE(
      decode_work(model(R"(, "links": "chained"}})"), make_grid(4, 4), options, kPoint, bytes_only())[1]
          .waits);
  options.schedule = Schedule::sequential;
  EXPECT_TRUE(decode_work(model(), make_grid(4, 4), options, kPoint, bytes_only())[1].waits);
}

/// Computing alone a rank is twice as fast.
Machine faster_alone() {
  Machine machine = bytes_only();
  for (FormatSpeed& speed : machine.formats) speed.alone.read_s_per_byte = Curve({{1, 0.5}});
  return machine;
}

/// Seconds of the second rank's layers, as a share of what they take while all ranks compute.
double layers_share(const std::string& links, Schedule schedule, int world, std::int64_t groups = 1) {
  const CheckpointIndex index = model(links);
  EngineOptions options = options_with(HeadMode::last);
  options.schedule = schedule;
  BenchPoint point = kPoint;
  point.groups = groups;
  const auto layers = [&](const Machine& machine) {
    return decode_work(index, make_grid(world, 4), options, point, machine).back().layers_s;
  };
  return layers(faster_alone()) / layers(bytes_only());
}

TEST(StepCost, ARankIsFasterWhileTheOthersWait) {
  const std::string chained = R"(, "links": "chained"}})",
                    one_beside = R"(, "links": ["chained", "staggered", "chained"]}})";
  EXPECT_EQ(layers_share("}}", Schedule::staggered, 4), 1);
  EXPECT_EQ(layers_share("}}", Schedule::sequential, 4), 0.5);
  EXPECT_EQ(layers_share("}}", Schedule::staggered, 1), 0.5);
  EXPECT_EQ(layers_share(chained, Schedule::staggered, 4), 0.5);
  EXPECT_EQ(layers_share(one_beside, Schedule::staggered, 4), 1);
  EXPECT_EQ(layers_share("}}", Schedule::sequential, 8), 1);     // two replicas
  EXPECT_EQ(layers_share("}}", Schedule::sequential, 4, 2), 1);  // of two groups
}

TEST(StepCost, SlicesOfTheHeadAreComputedTogether) {
  const CheckpointIndex index = model();
  const auto head = [&](HeadMode mode, int world) {
    EngineOptions options = options_with(mode);
    options.schedule = Schedule::sequential;
    return decode_work(index, make_grid(world, 4), options, kPoint, faster_alone()).back().head_s;
  };
  EXPECT_EQ(head(HeadMode::sliced, 4), 512.0 / 4 * 64 * 4);
  EXPECT_EQ(head(HeadMode::last, 4), 512.0 * 64 * 4 / 2);
  EXPECT_EQ(head(HeadMode::sliced, 1), 512.0 * 64 * 4 / 2);
}

TEST(StepCost, AWholeHeadIsTheLastRanks) {
  const CheckpointIndex index = model();
  const auto work = decode_work(index, make_grid(2, 4), options_with(HeadMode::last), kPoint, bytes_only());
  EXPECT_EQ(work[0].head_s, 0);
  EXPECT_EQ(work[1].head_s, 512.0 * 64 * 4);
}

TEST(Plan, StaggeredSectionsDivideTheTimeSequentialOnesDoNot) {
  const CheckpointIndex index = model();
  const PlanRequest request{options_with(), kPoint};
  const GridPlan one = plan_grid(index, make_grid(1, 4), request, bytes_only());
  const GridPlan four = plan_grid(index, make_grid(4, 4), request, bytes_only());
  EXPECT_NEAR(one.staggered_s / four.staggered_s, 4, 0.6);
  EXPECT_NEAR(one.staggered_s / four.sequential_s, 1, 0.2);
  EXPECT_EQ(one.messages, 0);
  EXPECT_EQ(four.messages, 5);
  EXPECT_EQ(four.message_bytes, 2 * 64 * 4 + 64 * 4 + 3 * (8 + 8 + 24));
  EXPECT_EQ(plan_grid(index, make_grid(8, 4), request, bytes_only()).tokens_per_s, 2 * four.tokens_per_s);
}

TEST(Plan, SlowLinksMakeTheWholeHeadTheChoice) {
  const CheckpointIndex index = model();
  Machine machine = Machine::built_in_machine();
  machine.link = LinkModel({{0, 1, 0}});
  PlanRequest request{options_with(HeadMode::automatic), kPoint};
  EXPECT_EQ(plan_grid(index, make_grid(4, 4), request, machine).head, HeadMode::last);
  machine.link = LinkModel({{0, 0, 0}});
  EXPECT_EQ(plan_grid(index, make_grid(4, 4), request, machine).head, HeadMode::sliced);
}

/// Messages take 1 s whatever their size, or 1 s a byte; nothing else takes any time.
Machine messages_only(bool by_size) {
  Machine machine = bytes_only();
  for (FormatSpeed& speed : machine.formats)
    speed.together.read_s_per_byte = speed.alone.read_s_per_byte = Curve({{1, 1e-30}});
  machine.link = by_size ? LinkModel({{0, 0, 0}, {1 << 20, 1 << 20, 0}}) : LinkModel({{0, 1, 0}});
  return machine;
}

TEST(TensorParallel, AddsUpByDoublingOrByHalves) {
  EXPECT_EQ(all_reduce_seconds(1024, 1, messages_only(false).link), 0);
  EXPECT_EQ(all_reduce_seconds(1024, 8, messages_only(false).link), 3);
  EXPECT_EQ(all_reduce_seconds(1024, 5, messages_only(false).link), 3);
  EXPECT_EQ(all_reduce_seconds(1024, 8, messages_only(true).link), 2 * (512 + 256 + 128));
}

TEST(TensorParallel, WaitsTwiceALayerAndCutsEveryMatrix) {
  const CheckpointIndex index = model();
  const EngineOptions options = options_with();
  // 12 layers with 2 sums of 2 rounds each, and the candidates' 2 rounds
  EXPECT_NEAR(tensor_parallel_seconds(index, 4, options, kPoint, messages_only(false)), 12 * 2 * 2 + 2, 1e-9);
  const double matrices = 12 * (4 * 64 * 64 + 3 * 64 * 128) + 512 * 64;  // no cross-attention
  EXPECT_NEAR(tensor_parallel_seconds(index, 4, options, kPoint, bytes_only()), 4 * matrices / 4, 1e-6);
}

TEST(Plan, AFilledPipelineReadsItsWeightsForEveryGroup) {
  const CheckpointIndex index = model();
  PlanRequest request{options_with(), kPoint};
  request.point.batch = 3;
  EXPECT_EQ(plan_grid(index, make_grid(4, 4), request, bytes_only()).filled_tokens_per_s, 0);
  request.point.batch = 8;
  const GridPlan plan = plan_grid(index, make_grid(4, 4), request, bytes_only());
  EXPECT_NEAR(plan.tokens_per_s / plan.filled_tokens_per_s, 4, 1e-9);  // batches cost what one row does
}

TEST(Plan, AdviceNamesTheFastestAndTheSmallestThatIsNearlyAsFast) {
  GridPlan small, large;
  small.machine = large.machine = "m";
  small.grid = make_grid(2, 4);
  large.grid = make_grid(4, 4);
  small.staggered_s = 0.0021;
  large.staggered_s = 0.002;
  large.waiting_s = 0.0007;
  small.tokens_per_s = 1 / small.staggered_s;
  large.tokens_per_s = 1 / large.staggered_s;
  const auto said = [&] {
    std::string all;
    for (const std::string& line : advice({small, large})) all += line + "\n";
    return all;
  };
  EXPECT_NE(
      said().find("Least time a token: 4 section(s) on 4 rank(s) of 1 thread(s), machine 'm', 2.000 ms."),
      std::string::npos)
      << said();
  EXPECT_NE(said().find("Nearly as fast with fewer cores: 4 section(s) on 2 rank(s)"), std::string::npos);
  EXPECT_NE(said().find("replicas of 4 section(s) on 2 rank(s)"), std::string::npos);
  EXPECT_NE(said().find("wait for 35 % of a step"), std::string::npos);
  EXPECT_EQ(said().find("Chained"), std::string::npos);
  small.staggered_s = 0.0025;
  large.waiting_s = 0.0005;
  large.chained = true;
  EXPECT_EQ(said().find("Nearly"), std::string::npos);
  EXPECT_EQ(said().find("wait for"), std::string::npos);
  EXPECT_NE(said().find("Chained"), std::string::npos);
}

TEST(Machine, IsReadAsItWasWritten) {
  Machine machine = Machine::built_in_machine();
  machine.measured = "today";
  machine.ranks_on_host = 3;
  EXPECT_EQ(Machine::from_json(machine.to_json()).to_json(), machine.to_json());
  EXPECT_FALSE(Machine::from_json(machine.to_json()).built_in());
  EXPECT_THROW((void)bytes_only().speed_of(NumberFormat::q4_1), ConfigError);
}

std::string error_of(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
  try {
    (void)Machine::from_json(text);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Machine, WhatIsWrongInAFileIsNamed) {
  const std::string text = Machine::built_in_machine().to_json();
  const auto names = [&](const char* from, const char* to, const char* word) {
    const std::string error = error_of(text, from, to);
    EXPECT_NE(error.find(word), std::string::npos) << error;
  };
  names("\"layer_s\"", "\"layer_z\"", "layer_z");
  names("\"version\": 1", "\"version\": 2", "version");
  names("stagformer machine", "another", "format");
  names("\"choice_s\": ", "\"choice_s\": -", "choice_s");
  names("\"f32\"", "\"f31\"", "f31");
  names("\"threads\": 1", "\"threads\": \"1\"", "threads");
  names("\"operations_per_s\": ", "\"operations_per_s\": -", "operations_per_s");
  names("\"link\": [", "\"link\": [[1, 2],", "link");
  EXPECT_THROW((void)Machine::from_json("[]"), ConfigError);
}

TEST(Machine, MoreRowsCostLessWhereMemoryIsWaitedFor) {
  const ReadSpeed speed{Curve({{1, 2}}), Curve({{1, 1}, {16, 9}}), Curve({{1, 1}, {16, 3}})};
  EXPECT_DOUBLE_EQ(speed.seconds_per_byte(1, 16), 18);
  EXPECT_DOUBLE_EQ(speed.seconds_per_byte(ReadSpeed::kNearBytes, 16), 18);
  EXPECT_DOUBLE_EQ(speed.seconds_per_byte(std::sqrt(ReadSpeed::kNearBytes * ReadSpeed::kFarBytes), 16), 12);
  const ReadSpeed slow_memory{Curve({{ReadSpeed::kNearBytes, 1}, {ReadSpeed::kFarBytes, 10}}),
                              Curve({{1, 1}, {8, 10}}), Curve({{1, 1}, {8, 1}})};
  // Arithmetic alone takes 10: so it does at any distance, and reading is hidden behind it.
  for (const double bytes : {1.0, 2.0, 4.0, 8.0})
    EXPECT_DOUBLE_EQ(slow_memory.seconds_per_byte(bytes * ReadSpeed::kNearBytes, 8), 10);
  EXPECT_DOUBLE_EQ(speed.seconds_per_byte(1e12, 16), 6);
  EXPECT_DOUBLE_EQ(speed.seconds_per_byte(1e12, 1), 2);
}

TEST(Machine, OlderFilesHaveOneCurveAndOneTimeOfALayer) {
  auto values = nlohmann::json::parse(Machine::built_in_machine().to_json());
  values.erase("layer_row_s");
  values["layer_s"] = 0.5;
  for (auto& format : values["formats"]) {
    format.erase("row_factor_far");
    format.erase("alone");
    format["read_s_per_byte"] = {{1, 0.25}};
  }
  const Machine machine = Machine::from_json(values.dump());
  EXPECT_EQ(machine.layer_row_s, 0.5);
  const FormatSpeed& speed = machine.formats[0];
  EXPECT_EQ(speed.together.row_factor_far.at(8), speed.together.row_factor.at(8));
  EXPECT_EQ(speed.alone.read_s_per_byte.at(1), 0.25);
}

TEST(StepCost, FurtherRowsHaveATimeOfTheirOwn) {
  Machine machine = messages_only(false);
  machine.layer_s = 100;
  machine.layer_row_s = Machine::kRowWidth / 64;  // 1 s with this width
  BenchPoint point = kPoint;
  point.batch = 5;
  EXPECT_NEAR(decode_work(model(), make_grid(4, 4), options_with(), point, machine)[0].layers_s,
              3 * (100 + 4), 1e-6);
}

TEST(Curve, IsInterpolatedOverTheLogarithm) {
  const Curve curve({{1, 1}, {4, 3}, {16, 4}});
  EXPECT_DOUBLE_EQ(curve.at(2), 2);
  EXPECT_DOUBLE_EQ(curve.at(8), 3.5);
  EXPECT_DOUBLE_EQ(curve.at(0.5), 1);
  EXPECT_DOUBLE_EQ(curve.at(100), 4);
  EXPECT_THROW(Curve({{2, 1}, {1, 1}}), ConfigError);
  EXPECT_THROW(Curve({{1, 0}, {2, 1}}), ConfigError);
}

}  // namespace
}  // namespace stagformer::internal
