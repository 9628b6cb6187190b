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
                 PhaseClock& clock, Trace& trace, HeadMode head, std::int64_t rows, int top)
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
      z_operand_(model.part().any_head ? rows : 0, model.config().hidden_size),
      logits_(static_cast<std::size_t>(rows * logits_stride_)),
      results_(static_cast<std::size_t>(rows)),
      top_per_row_(static_cast<std::size_t>(top)),
      top_(static_cast<std::size_t>(rows) * top_per_row_),
      parts_(sliced() ? transport.size() : 1),
      states_(transport, grid, model, clock, trace, sliced() && transport.size() > 1, rows) {
  if (!sliced())
    result_tree_ = std::make_unique<TreeBroadcast>(
        transport, transport.size() - 1,
        sizeof(Header) + results_.size() * sizeof(ReadoutResult) + top_.size() * sizeof(TopToken),
        tag(Tag::picks));
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
  const float* z = states_.make(readouts.size(), outputs, pass);
  if (!sliced() && !is_last()) return;
  compute_logits(readouts.size(), z, pass);
  start_exchange(readouts, pass);
}

ReadoutOutcome ReadOut::finish(std::span<const ReadoutRow> readouts, std::int64_t pass) {
  stop_seen_ = false;
  if (sliced() || is_last()) pick_all(readouts, pass);
  if (!sliced()) share_results(readouts.size(), pass);
  return {std::span(results_).first(readouts.size()), top_of(0, readouts.size()), stop_seen_};
}

std::span<const ReadoutResult> ReadOut::run_alone(std::span<const ReadoutRow> readouts, const float* outputs,
                                                  std::int64_t pass) {
  STAG_CHECK(is_last() && parts_ == 1 && !states_.sums_sections(), parts_);
  begin(readouts, outputs, pass);
  pick_all(readouts, pass);
  return std::span(results_).first(readouts.size());
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
    layout.raw_sums |= readout.target >= 0 || readout.log_probability || readout.top > 0;
    layout.top = std::max<std::int64_t>(layout.top, readout.top);
    layout.tempered_sums |= needs_tempered_sums(readout.sampling);
  }
  layout.candidates = std::min(layout.candidates, largest.rows());
  return layout;
}

/// Once a row, in place.
void ReadOut::penalize(std::span<const ReadoutRow> readouts) {
  const VocabularySlice& slice = model_.part().slice;
  for (std::size_t row = 0; row < readouts.size(); ++row)
    if (readouts[row].history)
      apply_penalties({logits_.data() + static_cast<std::int64_t>(row) * logits_stride_,
                       static_cast<std::size_t>(slice.rows())},
                      slice, readouts[row].sampling, *readouts[row].history);
}

std::span<TopToken> ReadOut::top_of(std::size_t first, std::size_t rows) {
  return std::span(top_).subspan(first * top_per_row_, rows * top_per_row_);
}

void ReadOut::report_top(const ReadoutRow& readout, std::size_t row, const std::byte* records) {
  const std::span<TopToken> top = top_of(row, 1);
  std::ranges::fill(top, TopToken{});
  STAG_CHECK(static_cast<std::size_t>(readout.top) <= top.size(), readout.top, top.size());
  if (readout.top > 0 && results_[row].finite)
    top_tokens(records + sizeof(TargetLogit), message_bytes_, parts_, config_.vocab_size, layout_,
               top.first(static_cast<std::size_t>(readout.top)));
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
  penalize(readouts);
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
    report_top(readouts[row], row, records);
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
  const std::size_t bytes = sizeof(Header) + rows * sizeof(ReadoutResult) + top_of(0, rows).size_bytes();
  const PhaseScope phase(clock_, Phase::wait_candidates);
  if (is_last())
    tell_results(rows, bytes, pass);
  else
    wait_for_results(rows, bytes, pass);
}

bool ReadOut::take_stop() {
  if (!transport_.poll(tag(Tag::stop))) return false;
  ++stops_taken_;
  stop_wanted_ = true;
  return true;
}

void ReadOut::forget_stop(int posted) {
  if (!sliced() && is_last())
    transport_.wait_until(
        [&] {
          while (take_stop()) continue;
          return stops_taken_ >= posted;
        },
        {"an earlier stop", 0, -1});
  stop_wanted_ = stop_posted_ = false;
}

void ReadOut::tell_results(std::size_t rows, std::size_t bytes, std::int64_t pass) {
  const TraceScope span(trace_, TraceSpan::Kind::tell_token, pass, rows);
  take_stop();
  stop_seen_ |= stop_wanted_;
  const Header header{stop_seen_ ? 1U : 0U, 0};
  const WaitSubject earlier{"an earlier answer to leave", -1, pass};
  std::byte* message = result_tree_->acquire(earlier).data();
  std::memcpy(message, &header, sizeof header);
  message += sizeof header;
  std::memcpy(message, results_.data(), rows * sizeof(ReadoutResult));
  std::ranges::copy(std::as_bytes(top_of(0, rows)), message + rows * sizeof(ReadoutResult));
  result_tree_->start(bytes, earlier);
  trace_tree(trace_, TraceMessage::Kind::token, *result_tree_, pass);
}

void ReadOut::wait_for_results(std::size_t rows, std::size_t bytes, std::int64_t pass) {
  const TraceScope span(trace_, TraceSpan::Kind::wait_token, pass, rows);
  if (stop_wanted_ && !stop_posted_) {
    stop_posted_ = true;
    ++stops_posted_;
    transport_.post(Bytes(1), transport_.size() - 1, tag(Tag::stop));
  }
  const WaitSubject subject{"the chosen tokens", transport_.size() - 1, pass};
  result_tree_->start(bytes, subject);
  const std::byte* message = result_tree_->wait(subject).data();
  trace_tree(trace_, TraceMessage::Kind::token, *result_tree_, pass);
  Header header;
  std::memcpy(&header, message, sizeof header);
  message += sizeof header;
  std::memcpy(results_.data(), message, rows * sizeof(ReadoutResult));
  const std::span<std::byte> top = std::as_writable_bytes(top_of(0, rows));
  std::copy_n(message + rows * sizeof(ReadoutResult), top.size(), top.data());
  stop_seen_ = header.stop != 0;
}

}  // namespace stagformer::internal
