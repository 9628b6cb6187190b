// One rank's part in running a model: its sections, the messages to its neighbours, the read-out.
//
// All ranks of a replica make the same calls with the same passes. An example with three sections on three
// ranks, staggered links, decoding (S = section's layers, M = project the memory that arrived, R = read-out
// together):
//
//     step i                         step i+1
//     rank 0  S0(i) ---- R(i)        S0(i+1) ----- R(i+1)
//                 \ y_i^0 travels during R(i)
//     rank 1  S1(i) ---- R(i) M(y^0) S1(i+1) ----- R(i+1)        S1(i) has read y^0 up to i-1 only
//                 \ y_i^1
//     rank 2  S2(i) ---- R(i) M(y^1) S2(i+1) ----- R(i+1)
//
// A pass that holds consecutive positions of a sequence (a prompt's chunk) needs the upstream's outputs of
// the same pass: the ranks then work on neighbouring chunks at the same time, as they do on neighbouring
// passes with chained links.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/phase_clock.hpp"
#include "base/thread_team.hpp"
#include "comm/channel.hpp"
#include "comm/transport.hpp"
#include "model/forward.hpp"
#include "model/section.hpp"
#include "pipeline/grid.hpp"
#include "pipeline/options.hpp"
#include "pipeline/pass.hpp"
#include "pipeline/rank_model.hpp"
#include "pipeline/rank_work.hpp"
#include "pipeline/read_out.hpp"
#include "pipeline/section_groups.hpp"
#include "pipeline/trace.hpp"

namespace stagformer::internal {

class Engine : private LayerHook {
 public:
  /// `replica` joins the ranks of this replica; `model` is this rank's part and must outlive the engine.
  /// `lookahead`: passes that may be run before their read-outs are collected (0 for decoding).
  Engine(Transport& replica, const Grid& grid, const RankModel& model, const EngineOptions& options,
         const ThreadTeam& team, int lookahead, std::size_t trace_spans);
  ~Engine() override;

  /// Runs this rank's sections over the pass and sends their outputs on. Does not wait for what the pass does
  /// not need.
  void run_sections(const Pass& pass);
  /// Takes part in the read-out of the oldest pass that has read-out rows and was not read out yet.
  ReadoutOutcome read_out();
  /// The same of a draft pass, without the other ranks: this one must hold the last section and the whole
  /// head.
  std::span<const ReadoutResult> read_out_alone();
  /// Passes with read-out rows that have been run and not been read out.
  int pending_read_outs() const { return pending_count_; }

  /// With EngineOptions::emulated: what this rank sleeps from now on.
  void emulate(const EmulatedWork& work);

  /// Takes in every message that is still under way, so that all ranks may leave.
  void drain();
  /// Takes in every message as drain() does; then slot `to` holds the first `positions` of slot `from`, of
  /// which rows below `written` have been stored.
  void copy_prefix(int from, int to, std::int64_t positions, std::int64_t written);
  /// What memory caches hold of a sequence, the same on all ranks.
  MemoryReach reach() const;
  /// Tells the other ranks in the next read-out that this one wants to stop.
  void request_stop() { read_out_.request_stop(); }
  /// After a stop that was one run's, not the job's (see ReadOut).
  void forget_stop(int posted) { read_out_.forget_stop(posted); }
  int stops_posted() const { return read_out_.stops_posted(); }

  PhaseClock& clock() { return clock_; }
  const Trace& trace() const { return trace_; }
  std::int64_t passes() const { return pass_number_; }
  const RankPart& part() const { return model_.part(); }
  /// With EngineOptions::keep_outputs: outputs [rows, d] of an own section in the last pass.
  std::span<const float> kept_outputs(int section) const;

 private:
  struct PendingReadOut {
    std::vector<ReadoutRow> readouts;
    AlignedBuffer<float>
        outputs;  // [contributing own sections][readouts][d], weighted for linear_combination
    std::int64_t pass = 0;
  };
  struct ExpectedMemory {
    std::vector<Row> rows;
    std::int64_t pass = 0;
  };

  void between_layers() override;
  void sleep_through(const Pass& pass, PendingReadOut* pending);

  bool upstream_is_remote() const { return receive_ != nullptr; }
  bool needs_current_upstream(const Pass& pass) const;
  void expect_memory(std::span<const Row> rows);
  void absorb_expected(std::size_t keep);
  const float* wait_for_states(const ExpectedMemory& expected, bool chained);
  void forward(Worker& worker, const Pass& pass, PendingReadOut* pending);
  void run_group(const ForwardContext& context, const SectionGroup& group, const Pass& pass,
                 PendingReadOut* pending);
  void begin_group(const SectionGroup& group, const Pass& pass);
  void end_group(const SectionGroup& group, const Pass& pass, PendingReadOut* pending, double begin);
  void pass_memory_on(const ForwardContext& context, const SectionGroup& group, const Pass& pass);
  ForwardContext context_of(Worker& worker);
  Batch batch_of(std::size_t first, std::size_t count, std::span<const Row> rows) const;
  std::span<float> rows_of(const SectionGroup& group, std::size_t section, const Pass& pass);
  std::int64_t work_of(std::size_t rows) const;
  /// Where the last section keeps its own outputs as memory: over the upstream's, which an exact pass puts
  /// back after drafts, or, where recurrent decoding wants a memory of nothing else, apart.
  int own_bank() const {
    const bool apart = config_.sections.prompt_memory == PromptMemory::own;
    return options_.decode == DecodeMode::recurrent && apart ? 1 : 0;
  }
  void embed(std::span<const std::int32_t> tokens, float* u);
  void delay(int section) const;
  void contribute(int section, const float* u, PendingReadOut& pending);
  void send_downstream(std::size_t rows);
  PendingReadOut& new_pending(const Pass& pass);
  PendingReadOut& oldest_pending();
  void record_section(int section, std::size_t rows, double begin);

  Transport& transport_;
  const Grid grid_;
  const RankModel& model_;
  const ModelConfig& config_;
  const EngineOptions options_;
  EmulatedWork emulated_;
  const ThreadTeam& team_;
  PhaseClock clock_;
  Trace trace_;
  RopeTable rope_;
  std::int64_t row_capacity_;
  std::vector<Section> sections_;
  std::vector<Section*> section_of_;  // the same, as batches take them
  std::vector<SectionGroup> groups_;
  std::int64_t stacked_rows_;  // most rows of a batch: those of a pass, or a step's of sections together
  Scratch scratch_;
  AlignedBuffer<float> u_;                 // [stacked_rows, d]
  std::span<const float> latest_outputs_;  // the rows in u_ of the section that ran last
  std::vector<AlignedBuffer<float>> kept_;
  std::unique_ptr<ReceiveChannel> receive_;  // from the rank of the section before the first own one
  bool sending_ = false;                     // posted, and not seen to have left
  std::unique_ptr<SendChannel> send_;        // to the rank of the section behind the last own one
  std::vector<ExpectedMemory>
      expected_;  // a ring: upstream messages that were not absorbed yet, oldest first
  std::size_t expected_first_ = 0, expected_count_ = 0;
  std::vector<PendingReadOut> pending_;  // a ring as well
  std::size_t pending_first_ = 0;
  int pending_count_ = 0;
  std::int64_t pass_number_ = 0;
  ReadOut read_out_;
};

}  // namespace stagformer::internal
