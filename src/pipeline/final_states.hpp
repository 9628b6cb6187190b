// z = norm_f(y^p), or norm_f(sum_s c_s y^s): made by the last rank, handed to all that compute logits.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "base/phase_clock.hpp"
#include "comm/collective.hpp"
#include "comm/transport.hpp"
#include "comm/tree_sum.hpp"
#include "pipeline/grid.hpp"
#include "pipeline/rank_model.hpp"
#include "pipeline/trace.hpp"

namespace stagformer::internal {

/// Both ends of this rank's messages in a tree, at the moment that it had the data.
void trace_tree(Trace& trace, TraceMessage::Kind kind, const TreeBroadcast& tree, std::int64_t pass);

class FinalStates {
 public:
  /// to_all: every rank gets z, not the last one alone; rows: most rows of one pass.
  FinalStates(Transport& transport, const Grid& grid, const RankModel& model, PhaseClock& clock, Trace& trace,
              bool to_all, std::int64_t rows);
  ~FinalStates();

  /// outputs: as ReadOut::run takes them. Returns [rows, d], to be read until the next call; null on a rank
  /// that does not get it.
  const float* make(std::size_t rows, const float* outputs, std::int64_t pass);
  bool sums_sections() const { return outputs_sum_ != nullptr; }

 private:
  const float* sum_outputs(std::size_t rows, const float* outputs, std::int64_t pass);
  const float* make_z(std::size_t rows, const float* combined, std::int64_t pass);
  const float* wait_for_z(std::size_t rows, std::int64_t pass);

  Transport& transport_;
  const RankModel& model_;
  const ModelConfig& config_;
  PhaseClock& clock_;
  Trace& trace_;
  bool last_;
  AlignedBuffer<float> z_;                 // [rows, d] on the last rank
  std::vector<const float*> own_outputs_;  // [own section]
  std::unique_ptr<TreeBroadcast> z_tree_;
  std::unique_ptr<TreeSum> outputs_sum_;
};

}  // namespace stagformer::internal
