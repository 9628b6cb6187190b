#include "pipeline/read_out.hpp"

#include <algorithm>
#include <cstring>

#include "base/check.hpp"
#include "kernels/kernels.hpp"
#include "pipeline/tags.hpp"

namespace stagformer::internal {
namespace {

std::int64_t logits_stride_of(const RankPart& part) {
  const std::int64_t rows = part.any_head ? part.slice.rows() : 0;
  return whole_panels(rows);
}

/// A row's part of a message: the target's logit (from the rank that holds it), then the sampler's record.
struct TargetLogit {
  float logit = 0;
  std::uint32_t held = 0;
};
static_assert(sizeof(TargetLogit) == 8);

std::size_t row_bytes(const RecordLayout& layout) {
  return sizeof(TargetLogit) + layout.bytes();
}

}  // namespace

ReadOut::ReadOut(Transport& transport, const Grid& grid, const RankModel& model, const ThreadTeam& team,
                 PhaseClock& clock, Trace& trace, HeadMode head, std::int64_t rows)
    : transport_(transport),
      model_(model),
      config_(model.config()),
      team_(team),
      clock_(clock),
      trace_(trace),
      head_(transport.size() == 1 ? HeadMode::sliced : head),
      last_(model.part().hosts_last(model.config())),
      row_capacity_(rows),
      logits_stride_(logits_stride_of(model.part())),
      z_(last_ ? static_cast<std::size_t>(rows * model.config().hidden_size) : 0),
      z_operand_(model.part().any_head ? rows : 0, model.config().hidden_size),
      logits_(static_cast<std::size_t>(rows * logits_stride_)),
      results_(static_cast<std::size_t>(rows)),
      own_outputs_(static_cast<std::size_t>(model.part().sections)),
      parts_(sliced() ? transport.size() : 1) {
  const int last_rank = transport.size() - 1;
  const std::size_t z_bytes = static_cast<std::size_t>(rows * config_.hidden_size) * sizeof(float);
  if (!alone() && sliced())
    z_tree_ = std::make_unique<TreeBroadcast>(transport, last_rank, z_bytes, tag(Tag::z));
  if (!alone() && !sliced())
    result_tree_ = std::make_unique<TreeBroadcast>(
        transport, last_rank, sizeof(Header) + results_.size() * sizeof(ReadoutResult), tag(Tag::picks));
  if (config_.sections.readout == Readout::linear_combination)
    outputs_sum_ = std::make_unique<TreeSum>(transport, grid.sections,
                                             static_cast<std::size_t>(rows * config_.hidden_size),
                                             tag(Tag::outputs_sum));
}

ReadOut::~ReadOut() = default;

std::int64_t ReadOut::buffer_floats(const ModelConfig& config, const RankPart& part, std::int64_t rows) {
  const int vectors = 2 + contributing_sections(config, part);
  return rows * (logits_stride_of(part) + vectors * config.hidden_size);
}

int ReadOut::contributing_sections(const ModelConfig& config, const RankPart& part) {
  if (config.sections.readout == Readout::linear_combination) return part.sections;
  return part.hosts_last(config) ? 1 : 0;
}

void ReadOut::begin(std::span<const ReadoutRow> readouts, const float* outputs, std::int64_t pass) {
  STAG_CHECK(static_cast<std::int64_t>(readouts.size()) <= row_capacity_, readouts.size(), row_capacity_);
  const float* z = final_states(readouts.size(), outputs, pass);
  if (!sliced() && !is_last()) return;
  compute_logits(readouts.size(), z, pass);
  start_exchange(readouts, pass);
}

ReadoutOutcome ReadOut::finish(std::span<const ReadoutRow> readouts, std::int64_t pass) {
  stop_seen_ = false;
  if (sliced() || is_last()) pick_all(readouts, pass);
  if (!sliced()) share_results(readouts.size(), pass);
  return {std::span(results_).first(readouts.size()), stop_seen_};
}

std::span<const ReadoutResult> ReadOut::run_alone(std::span<const ReadoutRow> readouts, const float* outputs,
                                                  std::int64_t pass) {
  STAG_CHECK(is_last() && parts_ == 1 && !outputs_sum_, parts_);
  begin(readouts, outputs, pass);
  pick_all(readouts, pass);
  return std::span(results_).first(readouts.size());
}

/// z = norm_f(y^p), or norm_f(sum_s c_s y^s): made by the last rank, handed to all that compute logits.
/// [rows, d]
const float* ReadOut::final_states(std::size_t rows, const float* outputs, std::int64_t pass) {
  const float* combined = outputs_sum_ ? sum_outputs(rows, outputs, pass) : outputs;
  if (is_last()) return make_z(rows, combined, pass);
  return z_tree_ ? wait_for_z(rows, pass) : nullptr;
}

/// The sum on the last rank, null elsewhere.
const float* ReadOut::sum_outputs(std::size_t rows, const float* outputs, std::int64_t pass) {
  const TraceScope span(trace_, TraceSpan::Kind::sum_outputs, pass, rows);
  const PhaseScope phase(clock_, Phase::wait_z);
  const std::size_t values = rows * static_cast<std::size_t>(config_.hidden_size);
  for (std::size_t s = 0; s < own_outputs_.size(); ++s) own_outputs_[s] = outputs + s * values;
  outputs_sum_->start(own_outputs_, values);
  return outputs_sum_->wait({"the sum of the sections' outputs", -1, pass});
}

const float* ReadOut::make_z(std::size_t rows, const float* combined, std::int64_t pass) {
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
  std::memcpy(z_tree_->acquire(earlier).data(), z_.data(), bytes);
  z_tree_->start(bytes, earlier);
  trace_tree(TraceMessage::Kind::z, *z_tree_, pass);
  return reinterpret_cast<const float*>(z_tree_->wait(earlier).data());
}

const float* ReadOut::wait_for_z(std::size_t rows, std::int64_t pass) {
  const TraceScope span(trace_, TraceSpan::Kind::wait_z, pass, rows);
  const PhaseScope phase(clock_, Phase::wait_z);
  const WaitSubject subject{"the final hidden states", transport_.size() - 1, pass};
  z_tree_->start(rows * static_cast<std::size_t>(config_.hidden_size) * sizeof(float), subject);
  const std::span<const std::byte> z = z_tree_->wait(subject);
  trace_tree(TraceMessage::Kind::z, *z_tree_, pass);
  return reinterpret_cast<const float*>(z.data());
}

/// Both ends of this rank's messages in a tree, at the moment that it had the data.
void ReadOut::trace_tree(TraceMessage::Kind kind, const TreeBroadcast& tree, std::int64_t pass) {
  if (!trace_.on()) return;
  if (tree.parent() >= 0) trace_.record(TraceMessage{kind, false, tree.parent(), pass, tree.had_data_s()});
  for (const int child : tree.children())
    trace_.record(TraceMessage{kind, true, child, pass, tree.had_data_s()});
}

void ReadOut::compute_logits(std::size_t rows, const float* z, std::int64_t pass) {
  const TraceScope span(trace_, TraceSpan::Kind::head, pass, rows);
  const PhaseScope phase(clock_, Phase::head);
  if (emulated_head_s_) return transport_.sleep(*emulated_head_s_);
  const PackedMatrix& head = model_.head();
  const auto n = static_cast<std::int64_t>(rows);
  Activations x = z_operand_.view();
  x.values = z;
  x.stride = config_.hidden_size;
  team_.run(head.rows * head.columns * n, [&](Worker& worker) {
    if (wants_quantized(head)) {
      const auto [begin, end] = worker.share(n);
      for (std::int64_t b = begin; b < end; ++b) z_operand_.quantize_from(z + b * config_.hidden_size, b);
      worker.meet();
    }
    const auto [begin, end] = worker.share(head.panels());
    if (begin < end) matmul(head, x, n, logits_.data(), logits_stride_, begin, end);
  });
}

RecordLayout ReadOut::layout_of(std::span<const ReadoutRow> readouts, std::int64_t candidates) const {
  RecordLayout layout;
  layout.candidates = candidates;
  const VocabularySlice largest = vocabulary_slice(config_.vocab_size, 0, parts_);
  layout.blocks = largest.block_end;
  for (const ReadoutRow& readout : readouts) {
    layout.candidates = std::max(layout.candidates, initial_candidates(readout.sampling));
    layout.raw_sums |= readout.target >= 0 || readout.log_probability;
    layout.tempered_sums |= needs_tempered_sums(readout.sampling);
  }
  layout.candidates = std::min(layout.candidates, largest.rows());
  return layout;
}

void ReadOut::write_row(const ReadoutRow& readout, std::size_t row, const RecordLayout& layout,
                        std::byte* out) {
  const VocabularySlice& slice = model_.part().slice;
  const std::span<const float> logits(logits_.data() + static_cast<std::int64_t>(row) * logits_stride_,
                                      static_cast<std::size_t>(slice.rows()));
  TargetLogit target;
  const std::int64_t index = readout.target - slice.row_begin();
  if (readout.target >= 0 && index >= 0 && index < slice.rows())
    target = {logits[static_cast<std::size_t>(index)], 1};
  std::memcpy(out, &target, sizeof target);
  summarize_slice(logits, slice, readout.sampling, readout.key, layout, out + sizeof target);
}

void ReadOut::write_records(std::span<const ReadoutRow> readouts, const RecordLayout& layout,
                            std::byte* message) {
  const std::size_t bytes = row_bytes(layout);
  const auto count = static_cast<std::int64_t>(readouts.size());
  team_.for_ranges(count, count * model_.part().slice.rows(), [&](std::int64_t begin, std::int64_t end) {
    for (auto row = static_cast<std::size_t>(begin); row < static_cast<std::size_t>(end); ++row)
      write_row(readouts[row], row, layout, message + row * bytes);
  });
}

void ReadOut::start_exchange(std::span<const ReadoutRow> readouts, std::int64_t pass) {
  const TraceScope span(trace_, TraceSpan::Kind::candidates, pass, readouts.size());
  const PhaseScope phase(clock_, Phase::sampling);
  layout_ = layout_of(readouts, 1);
  message_bytes_ = sizeof(Header) + readouts.size() * row_bytes(layout_);
  const Header header{stop_wanted_ ? 1U : 0U, 0};
  std::byte* message = nullptr;
  if (parts_ == 1) {
    own_records_.resize(std::max(own_records_.size(), message_bytes_));
    message = own_records_.data();
  } else {
    message = exchange_for(message_bytes_).mine().data();
  }
  std::memcpy(message, &header, sizeof header);
  write_records(readouts, layout_, message + sizeof header);
  if (parts_ == 1) return;
  trace_.sends(TraceMessage::Kind::candidates, -1, pass);
  exchange_->start(message_bytes_);
}

/// The exchange is remade, under new tags, only when a message outgrows it; all ranks agree on when that is.
/// The old one is kept: its last messages may still be on their way to slower ranks.
AllGather& ReadOut::exchange_for(std::size_t bytes) {
  if (!exchange_ || bytes > exchange_capacity_) {
    exchange_capacity_ = std::max(bytes, 2 * exchange_capacity_);
    if (exchange_) retired_.push_back(std::move(exchange_));
    exchange_ = std::make_unique<AllGather>(transport_, exchange_capacity_,
                                            tag(Tag::candidates) + 64 * exchange_generation_++);
  }
  return *exchange_;
}

void ReadOut::wait_for_candidates(std::size_t rows, std::int64_t pass) {
  if (parts_ == 1) {
    gathered_ = std::span<const std::byte>(own_records_.data(), message_bytes_);
    return;
  }
  const TraceScope span(trace_, TraceSpan::Kind::wait_candidates, pass, rows);
  const PhaseScope phase(clock_, Phase::wait_candidates);
  gathered_ = exchange_->wait({"candidates", -1, pass});
  trace_.has(TraceMessage::Kind::candidates, -1, pass);
}

void ReadOut::pick_all(std::span<const ReadoutRow> readouts, std::int64_t pass) {
  wait_for_candidates(readouts.size(), pass);
  const TraceScope span(trace_, TraceSpan::Kind::choose, pass, readouts.size());
  const PhaseScope phase(clock_, Phase::sampling);
  if (emulated_choice_s_ > 0) transport_.sleep(emulated_choice_s_);
  for (int part = 0; part < parts_; ++part) {
    Header header;
    std::memcpy(&header, gathered_.data() + static_cast<std::size_t>(part) * message_bytes_, sizeof header);
    stop_seen_ |= header.stop != 0;
  }
  std::vector<std::size_t>& again = widen_;
  again.clear();
  for (std::size_t row = 0; row < readouts.size(); ++row) {
    bool need_more = false;
    const std::byte* records = gathered_.data() + sizeof(Header) + row * row_bytes(layout_);
    results_[row] = result_of(readouts[row], records, message_bytes_, parts_, layout_, need_more);
    if (need_more) again.push_back(row);
  }
  for (const std::size_t row : again) results_[row] = pick_widened(readouts[row], row, pass);
}

ReadoutResult ReadOut::result_of(const ReadoutRow& readout, const std::byte* records, std::size_t stride,
                                 int parts, const RecordLayout& layout, bool& need_more) const {
  const Pick pick = pick_token(records + sizeof(TargetLogit), stride, parts, config_.vocab_size,
                               readout.sampling, readout.key, layout);
  need_more = pick.status == Pick::Status::need_more_candidates;
  ReadoutResult result{pick.token, pick.log_probability, pick.status != Pick::Status::not_finite};
  if (readout.target < 0 || !result.finite) return result;
  result.greedy = pick.token == readout.target;
  result.token = readout.target;
  for (int part = 0; part < parts; ++part) {
    TargetLogit target;
    std::memcpy(&target, records + static_cast<std::size_t>(part) * stride, sizeof target);
    if (target.held)
      result.log_probability =
          static_cast<float>(target.logit - log_sum_exp(records + sizeof(TargetLogit), stride, parts,
                                                        config_.vocab_size, layout));
  }
  return result;
}

/// Exchanges one row again with ever more candidates until its allowed set is known. Rare: a very wide
/// nucleus.
ReadoutResult ReadOut::pick_widened(const ReadoutRow& readout, std::size_t row, std::int64_t pass) {
  std::int64_t candidates = layout_.candidates;
  for (;;) {
    candidates = std::min(4 * candidates, config_.vocab_size);
    const RecordLayout layout = layout_of({&readout, 1}, candidates);
    const std::size_t bytes = row_bytes(layout);
    const std::byte* records = nullptr;
    if (parts_ == 1) {
      widened_.resize(std::max(widened_.size(), bytes));
      write_row(readout, row, layout, widened_.data());
      records = widened_.data();
    } else {
      AllGather& exchange = exchange_for(bytes);
      write_row(readout, row, layout, exchange.mine().data());
      exchange.start(bytes);
      records = exchange.wait({"more candidates", -1, pass}).data();
    }
    bool need_more = false;
    const ReadoutResult result = result_of(readout, records, bytes, parts_, layout, need_more);
    if (!need_more) return result;
    STAG_CHECK(candidates < config_.vocab_size, candidates);
  }
}

/// --head last: the last rank sends what it chose; a rank that wants to stop tells the last one by a posted
/// message.
void ReadOut::share_results(std::size_t rows, std::int64_t pass) {
  const std::size_t bytes = sizeof(Header) + rows * sizeof(ReadoutResult);
  const PhaseScope phase(clock_, Phase::wait_candidates);
  if (is_last())
    tell_results(rows, bytes, pass);
  else
    wait_for_results(rows, bytes, pass);
}

void ReadOut::tell_results(std::size_t rows, std::size_t bytes, std::int64_t pass) {
  const TraceScope span(trace_, TraceSpan::Kind::tell_token, pass, rows);
  if (transport_.poll(tag(Tag::stop))) stop_wanted_ = true;
  stop_seen_ |= stop_wanted_;
  const Header header{stop_seen_ ? 1U : 0U, 0};
  const WaitSubject earlier{"an earlier answer to leave", -1, pass};
  std::byte* message = result_tree_->acquire(earlier).data();
  std::memcpy(message, &header, sizeof header);
  std::memcpy(message + sizeof header, results_.data(), rows * sizeof(ReadoutResult));
  result_tree_->start(bytes, earlier);
  trace_tree(TraceMessage::Kind::token, *result_tree_, pass);
}

void ReadOut::wait_for_results(std::size_t rows, std::size_t bytes, std::int64_t pass) {
  const TraceScope span(trace_, TraceSpan::Kind::wait_token, pass, rows);
  if (stop_wanted_ && !stop_posted_) {
    stop_posted_ = true;
    transport_.post(Bytes(1), transport_.size() - 1, tag(Tag::stop));
  }
  const WaitSubject subject{"the chosen tokens", transport_.size() - 1, pass};
  result_tree_->start(bytes, subject);
  const std::byte* message = result_tree_->wait(subject).data();
  trace_tree(TraceMessage::Kind::token, *result_tree_, pass);
  Header header;
  std::memcpy(&header, message, sizeof header);
  std::memcpy(results_.data(), message + sizeof header, rows * sizeof(ReadoutResult));
  stop_seen_ = header.stop != 0;
}

}  // namespace stagformer::internal
