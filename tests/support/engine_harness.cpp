#include "support/engine_harness.hpp"

#include <algorithm>
#include <mutex>

#include "base/thread_team.hpp"
#include "checkpoint/tensor_reader.hpp"
#include "pipeline/engine.hpp"
#include "pipeline/evaluation.hpp"
#include "pipeline/grid.hpp"
#include "pipeline/rank_model.hpp"

namespace stagformer::test {

using namespace internal;

namespace {

constexpr std::int64_t kRowCapacity = 1024;

/// Read-outs of one pass: for every row one choice and its targets.
std::vector<ReadoutRow> readouts_of(std::int64_t first, std::int64_t count,
                                    const std::vector<std::vector<std::int32_t>>& targets) {
  std::vector<ReadoutRow> readouts;
  for (std::int64_t i = 0; i < count; ++i) {
    ReadoutRow readout;
    readout.row = static_cast<std::int32_t>(i);
    readouts.push_back(readout);
    for (const std::int32_t target : targets[static_cast<std::size_t>(first + i)]) {
      readout.target = target;
      readouts.push_back(readout);
      readout.target = -1;
    }
  }
  return readouts;
}

class Collector {
 public:
  Collector(Engine& engine, EngineResult& result) : engine_(engine), result_(result) {}

  void expect(const std::vector<ReadoutRow>& readouts) { outstanding_.push_back(readouts); }
  void collect() {
    const ReadoutOutcome outcome = engine_.read_out();
    const std::vector<ReadoutRow> readouts = outstanding_.front();
    outstanding_.erase(outstanding_.begin());
    for (std::size_t i = 0; i < readouts.size(); ++i) {
      if (readouts[i].target < 0)
        result_.chosen.push_back(outcome.results[i].token);
      else
        result_.log_probabilities.push_back(outcome.results[i].log_probability);
    }
  }

 private:
  Engine& engine_;
  EngineResult& result_;
  std::vector<std::vector<ReadoutRow>> outstanding_;
};

}  // namespace

EngineResult run_engine(Transport& replica, const CheckpointIndex& given,
                        const std::vector<std::int32_t>& tokens,
                        const std::vector<std::vector<std::int32_t>>& targets, const EngineRun& run) {
  CheckpointIndex index = given;
  if (run.prompt_memory) index.config.sections.prompt_memory = *run.prompt_memory;
  use_activations(run.activations);  // of the whole process: all ranks of a test run the same
  const Grid grid = make_grid(replica.size(), index.config.sections.count);
  EngineOptions options;
  options.schedule = run.schedule;
  options.decode = run.decode;
  options.head = run.head;
  options.context = static_cast<std::int64_t>(tokens.size());
  options.chunk = kRowCapacity;
  options.score_all_rows = true;
  options.keep_outputs = true;
  options.delays = run.delays;
  const ThreadTeam team(run.threads, 0);  // tiny models use their threads too
  const RankPart part = rank_part(index.config, grid, replica.rank(), options.head);
  TensorReader reader(index, true);
  const RankModel model(index, part, reader, team, {});
  const int lookahead = run.lookahead ? Evaluator::lookahead_of(part) : 0;
  Engine engine(replica, grid, model, options, team, lookahead, run.trace_spans);

  EngineResult result;
  result.first_section = part.first_section;
  result.section_outputs.resize(static_cast<std::size_t>(part.sections));
  Collector collector(engine, result);
  const auto d = static_cast<std::size_t>(index.config.hidden_size);
  const auto length = static_cast<std::int64_t>(tokens.size());
  for (std::int64_t at = 0; at < length;) {
    const bool recurrent = run.decode == DecodeMode::recurrent && at >= run.recurrent_after;
    std::int64_t count = recurrent ? 1 : std::min(run.pass_rows, length - at);
    if (run.decode == DecodeMode::recurrent && !recurrent) count = std::min(count, run.recurrent_after - at);
    std::vector<Row> rows;
    for (std::int64_t i = 0; i < count; ++i) rows.push_back({0, at + i});
    const std::vector<ReadoutRow> readouts = readouts_of(at, count, targets);
    engine.run_sections(
        {rows, std::span(tokens).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(count)),
         readouts, recurrent ? PassKind::recurrent : PassKind::exact});
    if (!recurrent)
      for (int s = 0; s < part.sections; ++s) {
        const auto kept = engine.kept_outputs(part.first_section + s);
        auto& out = result.section_outputs[static_cast<std::size_t>(s)];
        out.insert(out.end(), kept.begin(),
                   kept.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(count) * d));
      }
    collector.expect(readouts);
    while (engine.pending_read_outs() > lookahead) collector.collect();
    at += count;
  }
  while (engine.pending_read_outs() > 0) collector.collect();
  engine.drain();
  result.spans = engine.trace().spans();
  replica.barrier();
  return result;
}

std::vector<EngineResult> run_engine_locally(int ranks, const LocalOptions& options,
                                             const CheckpointIndex& index,
                                             const std::vector<std::int32_t>& tokens,
                                             const std::vector<std::vector<std::int32_t>>& targets,
                                             const EngineRun& run) {
  std::vector<EngineResult> results(static_cast<std::size_t>(ranks));
  std::mutex mutex;
  run_local_ranks(ranks, options, [&](Transport& transport) {
    EngineResult result = run_engine(transport, index, tokens, targets, run);
    const std::lock_guard lock(mutex);
    results[static_cast<std::size_t>(transport.rank())] = std::move(result);
  });
  return results;
}

std::vector<std::vector<float>> all_sections(const std::vector<EngineResult>& results) {
  std::vector<std::vector<float>> sections;
  for (const EngineResult& result : results)
    sections.insert(sections.end(), result.section_outputs.begin(), result.section_outputs.end());
  return sections;
}

std::vector<std::vector<std::int32_t>> spread_targets(const std::vector<std::int32_t>& tokens,
                                                      std::int64_t vocab_size) {
  std::vector<std::vector<std::int32_t>> targets;
  for (std::size_t t = 0; t < tokens.size(); ++t) {
    std::vector<std::int32_t> row = {t + 1 < tokens.size() ? tokens[t + 1] : 0};
    for (std::int64_t part = 0; part < 5; ++part)
      row.push_back(static_cast<std::int32_t>((static_cast<std::int64_t>(t) * 37 + part * (vocab_size / 5)) %
                                              vocab_size));
    row.push_back(static_cast<std::int32_t>(vocab_size - 1));
    targets.push_back(std::move(row));
  }
  return targets;
}

}  // namespace stagformer::test
