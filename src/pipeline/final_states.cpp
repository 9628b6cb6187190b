#include "pipeline/final_states.hpp"

#include <cstring>

#include "kernels/kernels.hpp"
#include "pipeline/tags.hpp"

namespace stagformer::internal {

void trace_tree(Trace& trace, TraceMessage::Kind kind, const TreeBroadcast& tree, std::int64_t pass) {
  if (!trace.on()) return;
  if (tree.parent() >= 0) trace.record(TraceMessage{kind, false, tree.parent(), pass, tree.had_data_s()});
  for (const int child : tree.children())
    trace.record(TraceMessage{kind, true, child, pass, tree.had_data_s()});
}

FinalStates::FinalStates(Transport& transport, const Grid& grid, const RankModel& model, PhaseClock& clock,
                         Trace& trace, bool to_all, std::int64_t rows)
    : transport_(transport),
      model_(model),
      config_(model.config()),
      clock_(clock),
      trace_(trace),
      last_(model.part().hosts_last(model.config())),
      z_(last_ ? static_cast<std::size_t>(rows * model.config().hidden_size) : 0),
      own_outputs_(static_cast<std::size_t>(model.part().sections)) {
  const auto values = static_cast<std::size_t>(rows * config_.hidden_size);
  if (to_all)
    z_tree_ =
        std::make_unique<TreeBroadcast>(transport, transport.size() - 1, values * sizeof(float), tag(Tag::z));
  if (config_.sections.readout == Readout::linear_combination)
    outputs_sum_ = std::make_unique<TreeSum>(transport, grid.sections, values, tag(Tag::outputs_sum));
}

FinalStates::~FinalStates() = default;

const float* FinalStates::make(std::size_t rows, const float* outputs, std::int64_t pass) {
  const float* combined = outputs_sum_ ? sum_outputs(rows, outputs, pass) : outputs;
  if (last_) return make_z(rows, combined, pass);
  return z_tree_ ? wait_for_z(rows, pass) : nullptr;
}

/// The sum on the last rank, null elsewhere.
const float* FinalStates::sum_outputs(std::size_t rows, const float* outputs, std::int64_t pass) {
  const TraceScope span(trace_, TraceSpan::Kind::sum_outputs, pass, rows);
  const PhaseScope phase(clock_, Phase::wait_z);
  const std::size_t values = rows * static_cast<std::size_t>(config_.hidden_size);
  for (std::size_t s = 0; s < own_outputs_.size(); ++s) own_outputs_[s] = outputs + s * values;
  outputs_sum_->start(own_outputs_, values);
  return outputs_sum_->wait({"the sum of the sections' outputs", -1, pass});
}

const float* FinalStates::make_z(std::size_t rows, const float* combined, std::int64_t pass) {
  const TraceScope span(trace_, TraceSpan::Kind::make_z, pass, rows);
  const auto d = static_cast<std::size_t>(config_.hidden_size);
  const std::size_t bytes = rows * d * sizeof(float);
  {
    const PhaseScope phase(clock_, Phase::head);
    for (std::size_t b = 0; b < rows; ++b)
      rms_norm(combined + b * d, model_.final_norm().data(), config_.hidden_size,
               static_cast<float>(config_.rms_norm_eps), z_.data() + b * d);
  }
  if (!z_tree_) return z_.data();
  const PhaseScope phase(clock_, Phase::wait_z);
  const WaitSubject earlier{"earlier final hidden states to leave", -1, pass};
  // The tree keeps its buffer until the other ranks have it; z_ is written anew in the next pass.
  std::memcpy(z_tree_->acquire(earlier).data(), z_.data(), bytes);
  z_tree_->start(bytes, earlier);
  trace_tree(trace_, TraceMessage::Kind::z, *z_tree_, pass);
  return reinterpret_cast<const float*>(z_tree_->wait(earlier).data());
}

const float* FinalStates::wait_for_z(std::size_t rows, std::int64_t pass) {
  const TraceScope span(trace_, TraceSpan::Kind::wait_z, pass, rows);
  const PhaseScope phase(clock_, Phase::wait_z);
  const WaitSubject subject{"the final hidden states", transport_.size() - 1, pass};
  z_tree_->start(rows * static_cast<std::size_t>(config_.hidden_size) * sizeof(float), subject);
  const std::span<const std::byte> z = z_tree_->wait(subject);
  trace_tree(trace_, TraceMessage::Kind::z, *z_tree_, pass);
  return reinterpret_cast<const float*>(z.data());
}

}  // namespace stagformer::internal
