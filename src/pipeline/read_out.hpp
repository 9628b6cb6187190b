// From the sections' outputs to tokens, done by all ranks of a replica together: final norm on the last rank,
// z to all by a tree, every rank its slice of the head, candidates to all, every rank picks by itself. With
// --head last the last rank does all of it and sends the tokens out.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "base/phase_clock.hpp"
#include "base/thread_team.hpp"
#include "comm/collective.hpp"
#include "comm/transport.hpp"
#include "model/scratch.hpp"
#include "pipeline/final_states.hpp"
#include "pipeline/grid.hpp"
#include "pipeline/options.hpp"
#include "pipeline/pass.hpp"
#include "pipeline/rank_model.hpp"
#include "pipeline/trace.hpp"

namespace stagformer::internal {

class ReadOut {
 public:
  /// rows: most read-out rows of one pass; top: most likeliest tokens to report of a row. The head's way
  /// (sliced or last) is the part's.
  ReadOut(Transport& transport, const Grid& grid, const RankModel& model, const ThreadTeam& team,
          PhaseClock& clock, Trace& trace, HeadMode head, std::int64_t rows, int top);
  ~ReadOut();

  /// Floats that the head's buffers take for so many rows.
  static std::int64_t buffer_floats(const ModelConfig& config, const RankPart& part, std::int64_t rows);

  /// outputs: per contributing own section [readouts.size(), d] (see contributing_sections); readouts: the
  /// same on all ranks. `while_waiting` is called once between sending the candidates and waiting for the
  /// others'; never where others wait for this rank's choice.
  template <typename WhileWaiting>
  ReadoutOutcome run(std::span<const ReadoutRow> readouts, const float* outputs, std::int64_t pass,
                     WhileWaiting&& while_waiting) {
    begin(readouts, outputs, pass);
    if (sliced() || !is_last()) while_waiting();
    return finish(readouts, pass);
  }

  /// On the rank that holds the last section and the whole head: the choices, told to nobody.
  std::span<const ReadoutResult> run_alone(std::span<const ReadoutRow> readouts, const float* outputs,
                                           std::int64_t pass);

  /// The head sleeps so long instead of computing: all logits are zero. The choice sleeps besides.
  void emulate(double head_s, double choice_s) {
    emulated_head_s_ = head_s;
    emulated_choice_s_ = choice_s;
  }

  void request_stop() { stop_wanted_ = true; }
  /// Stops that this rank has told the last one (--head last).
  int stops_posted() const { return stops_posted_; }
  /// All ranks go on after a stop. `posted`: the stops_posted() of the one rank that may ask for stops; the
  /// last rank takes in those that nobody waited for.
  void forget_stop(int posted);

  /// Own sections whose outputs the read-out needs: the last section alone, or all of them
  /// (linear_combination).
  static int contributing_sections(const ModelConfig& config, const RankPart& part);

 private:
  struct Header {
    std::uint32_t stop = 0;
    std::uint32_t reserved = 0;
  };

  void begin(std::span<const ReadoutRow> readouts, const float* outputs, std::int64_t pass);
  ReadoutOutcome finish(std::span<const ReadoutRow> readouts, std::int64_t pass);
  void compute_logits(std::size_t rows, const float* z, std::int64_t pass);
  RecordLayout layout_of(std::span<const ReadoutRow> readouts, std::int64_t candidates) const;
  void write_records(std::span<const ReadoutRow> readouts, const RecordLayout& layout, std::byte* message);
  void write_row(const ReadoutRow& readout, std::size_t row, const RecordLayout& layout, std::byte* out);
  void penalize(std::span<const ReadoutRow> readouts);
  void report_top(const ReadoutRow& readout, std::size_t row, const std::byte* records);
  std::span<TopToken> top_of(std::size_t first, std::size_t rows);
  void start_exchange(std::span<const ReadoutRow> readouts, std::int64_t pass);
  void wait_for_candidates(std::size_t rows, std::int64_t pass);
  void pick_all(std::span<const ReadoutRow> readouts, std::int64_t pass);
  ReadoutResult pick_widened(const ReadoutRow& readout, std::size_t row, std::int64_t pass);
  ReadoutResult result_of(const ReadoutRow& readout, const std::byte* records, std::size_t stride, int parts,
                          const RecordLayout& layout, bool& need_more) const;
  AllGather& exchange_for(std::size_t bytes);
  bool take_stop();
  void share_results(std::size_t rows, std::int64_t pass);
  void tell_results(std::size_t rows, std::size_t bytes, std::int64_t pass);
  void wait_for_results(std::size_t rows, std::size_t bytes, std::int64_t pass);
  bool sliced() const { return head_ != HeadMode::last; }
  bool is_last() const { return last_; }

  Transport& transport_;
  const RankModel& model_;
  const ModelConfig& config_;
  const ThreadTeam& team_;
  PhaseClock& clock_;
  Trace& trace_;
  HeadMode head_;
  bool last_;
  std::int64_t row_capacity_;
  std::int64_t logits_stride_;
  Operand z_operand_;                   // the same quantised, where the head takes it so
  AlignedBuffer<float> logits_;         // [rows, logits_stride], this rank's slice of the vocabulary
  std::vector<std::byte> own_records_;  // a lone rank's, or the last rank's under --head last
  std::vector<ReadoutResult> results_;
  std::size_t top_per_row_;
  std::vector<TopToken> top_;  // [rows, top_per_row]
  int parts_;                  // slices of the vocabulary
  FinalStates states_;
  std::unique_ptr<TreeBroadcast> result_tree_;
  std::unique_ptr<AllGather> exchange_;
  std::vector<std::unique_ptr<AllGather>> retired_;
  std::size_t exchange_capacity_ = 0;
  int exchange_generation_ = 0;
  std::size_t message_bytes_ = 0;
  RecordLayout layout_;
  std::span<const std::byte> gathered_;  // all ranks' messages, message_bytes_ each
  std::vector<std::size_t> widen_;       // rows whose candidates did not suffice
  std::vector<std::byte> widened_;
  std::optional<double> emulated_head_s_;
  double emulated_choice_s_ = 0;
  bool stop_wanted_ = false, stop_seen_ = false, stop_posted_ = false;
  int stops_posted_ = 0, stops_taken_ = 0;
};

}  // namespace stagformer::internal
