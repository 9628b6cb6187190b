// One run of a model from start-up to the report, the same for every subcommand that runs one: agree on what
// is run, place it on the ranks, plan the memory, load, hand out an engine, report where the time went.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/thread_team.hpp"
#include "checkpoint/index.hpp"
#include "cli/model_source.hpp"
#include "cli/run_settings.hpp"
#include "cli/settings_sources.hpp"
#include "comm/mpi_session.hpp"
#include "comm/transport.hpp"
#include "pipeline/engine.hpp"
#include "pipeline/grid.hpp"
#include "pipeline/rank_model.hpp"
#include "pipeline/trace_file.hpp"
#include "text/tokenizer.hpp"

namespace stagformer::internal {

/// What one rank is and has; gathered for the tables.
struct RankFacts {
  std::string host;
  std::vector<int> cores;
  int threads = 1;
  bool oversubscribed = false;
  int replica = 0;
  int first_section = 0, sections = 0;
  std::int64_t weight_bytes = 0, cache_bytes = 0;
  double load_s = 0;
};

/// Where the rank is and what it has there.
template <typename Json>
Json placement_record(const RankFacts& facts) {
  return {{"host", facts.host},        {"cores", facts.cores},
          {"threads", facts.threads},  {"oversubscribed", facts.oversubscribed},
          {"replica", facts.replica},  {"first_section", facts.first_section},
          {"sections", facts.sections}};
}

class ModelRun {
 public:
  /// `all_settings` visits the subcommand's settings too: they are compared between ranks and recorded.
  /// `source`: where the weights come from; by default settings.checkpoint.
  ModelRun(const MpiSession& session, RunSettings& settings, VisitSettings all_settings,
           const std::string& command, std::unique_ptr<ModelSource> source = nullptr);
  ~ModelRun();

  /// Collective: reads the index, checks that all ranks run the same thing, makes the grid and the tokenizer.
  void open();
  /// Collective: plans, refuses what does not fit, loads, makes the engine. slots, context and score_all_rows
  /// are set by the caller. `scoring` puts read-outs off (Evaluator::lookahead_of). `sequences_may_wait`:
  /// where memory is short of options.slots sequences, options() has as many as it holds.
  void load(EngineOptions options, bool scoring, bool sequences_may_wait = false);
  /// Collective: the table of where the time went, the JSON record (with the subcommand's `result`), the
  /// trace.
  void report(double seconds, const nlohmann::json& result);

  Transport& world() { return *world_; }
  Transport& replica() { return *replica_; }
  bool is_root() const { return world_->rank() == 0; }
  bool leads_replica() const { return replica_->rank() == 0; }
  const Grid& grid() const { return grid_; }
  int replica_number() const { return grid_.replica_of(world_->rank()); }
  const CheckpointIndex& index() const { return index_; }
  const ModelConfig& config() const { return index_.config; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const EngineOptions& options() const { return options_; }
  Engine& engine() { return *engine_; }
  int lookahead() const { return lookahead_; }
  int threads() const { return facts_.threads; }
  const RankPart& part() const { return part_; }
  const std::string& instruction_set() const { return instruction_set_; }
  /// Of all ranks, known once the model is loaded.
  const std::vector<RankFacts>& facts() const { return all_facts_; }
  /// The longest context that a sequence may have.
  std::int64_t max_context() const { return index_.config.max_position_embeddings; }
  /// Forgets the times counted so far.
  void restart_clock() { engine_->clock().reset(); }

 private:
  void read_index();
  void check_same_everywhere();
  void place();
  void choose_threads();
  void choose_head();
  void check_memory(std::int64_t limit);
  void fit_slots(std::int64_t limit);
  std::int64_t memory_limit();
  void log_header();
  void log_ranks();
  void write_trace();
  std::vector<RankFacts> gather_facts();
  RankModel::Progress load_progress() const;

  const MpiSession& session_;
  RunSettings& settings_;
  VisitSettings all_settings_;
  std::string command_;
  std::unique_ptr<ModelSource> source_;
  std::unique_ptr<Transport> world_, replica_;
  CheckpointIndex index_;
  std::unique_ptr<Tokenizer> tokenizer_;
  Grid grid_;
  EngineOptions options_;
  RankPart part_;
  MemoryPlan plan_;
  RankFacts facts_;
  std::string thread_source_, head_reason_, instruction_set_;
  std::unique_ptr<ThreadTeam> team_;
  std::unique_ptr<RankModel> model_;
  std::unique_ptr<Engine> engine_;
  int lookahead_ = 0;
  double open_s_ = 0;
  std::vector<RankFacts> all_facts_;
  TraceClock trace_clock_;
};

}  // namespace stagformer::internal
