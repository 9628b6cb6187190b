// What stands behind stagformer::Model: one rank's part of a loaded model, and the calls that all ranks make
// together.
//
// Every call begins with a comparison of what the ranks want and, where it ran passes, ends with one of how
// that went. Between the two a rank that gives up asks the others to stop at the next step; what was left in
// the engine and under way is then given up on all ranks.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/thread_team.hpp"
#include "checkpoint/index.hpp"
#include "comm/transport.hpp"
#include "pipeline/call_arguments.hpp"
#include "pipeline/engine.hpp"
#include "pipeline/grid.hpp"
#include "pipeline/rank_model.hpp"
#include "stagformer/engine.hpp"
#include "text/tokenizer.hpp"

namespace stagformer::internal {

class HostedModel {
 public:
  /// Collective. `on_mpi`: `world` is a communicator, which only some threads may use.
  static std::unique_ptr<HostedModel> open(std::unique_ptr<Transport> world, bool on_mpi,
                                           const std::string& checkpoint, const LoadOptions& options);
  ~HostedModel();
  HostedModel(const HostedModel&) = delete;
  HostedModel& operator=(const HostedModel&) = delete;

  const ModelConfig& config() const { return index_.config; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  TextRules rules() const { return {index_.config, *tokenizer_, options_.context, options_.draft > 0}; }
  Placement placement() const;

  // Collective; see Model.
  std::vector<Generation> generate(std::span<const Prompt> prompts, const Model::OnBatchText& on_text);
  std::vector<Scores> score(std::span<const std::string> texts, std::int64_t window);

 private:
  HostedModel(std::unique_ptr<Transport> world, bool on_mpi, const LoadOptions& wanted);

  // Start-up, in this order; each ends the same way on all ranks.
  void load(const std::string& checkpoint);
  void compare_ranks();
  void read_index(const std::string& checkpoint);
  void check_index();
  void place();
  void choose_threads();
  void split_world();
  void choose_head();
  void check_memory();
  void load_weights();

  void make_engine();
  /// Gives up what the engine holds and what is under way to it.
  void renew();

  /// Compares the call between ranks, then does `work`. Throws UsageError where one is running already.
  void call(const CallId& id, const std::function<void()>& work);
  /// Tells all ranks how this one's passes ended, and throws where any gave up: on this rank what it was.
  void end_passes(const std::exception_ptr& given_up);
  std::vector<GenerationResult> run(std::vector<GenerationRequest> requests,
                                    const Model::OnBatchText& on_text);
  bool is_mine(std::size_t item) const {
    return item % static_cast<std::size_t>(grid_.replicas) ==
           static_cast<std::size_t>(grid_.replica_of(world_->rank()));
  }
  /// The bytes of each replica's first rank, on all ranks.
  std::vector<Bytes> from_replicas(const std::string& mine);

  const LoadOptions wanted_;
  const bool on_mpi_;
  std::atomic<bool> is_busy_{false};
  bool in_step_ = true;  // no passes are under way that some rank may have left
  CheckpointIndex index_;
  std::unique_ptr<Tokenizer> tokenizer_;
  Grid grid_;
  EngineOptions options_;
  RankPart part_;
  MemoryPlan plan_;
  int instruction_set_ = 0;
  int ranks_on_host_ = 1;
  std::unique_ptr<Transport> world_, replica_;
  std::unique_ptr<ThreadTeam> team_;
  std::unique_ptr<RankModel> model_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace stagformer::internal
