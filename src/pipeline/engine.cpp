#include "pipeline/engine.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/check.hpp"
#include "kernels/kernels.hpp"
#include "pipeline/tags.hpp"

namespace stagformer::internal {
namespace {

constexpr int kChannelSlots = 2;  // one message travels while the next is made or used

/// Whether anything travels from section s - 1 to s: nothing does between staggered sections without memory,
/// unless the schedule makes them wait for each other.
bool link_carries(const ModelConfig& config, const EngineOptions& options, int section) {
  return config.sections.links[static_cast<std::size_t>(section - 1)] == Link::chained ||
         config.has_memory(section) || options.schedule == Schedule::sequential;
}

SectionCapacity capacity_of(const ModelConfig& config, const EngineOptions& options, std::int64_t rows) {
  const bool own_memory =
      options.decode == DecodeMode::recurrent && config.sections.prompt_memory == PromptMemory::own;
  return {options.slots, options.context, rows, own_memory ? 2 : 1, options.cache_format};
}

std::vector<Section> make_sections(const RankModel& model, const EngineOptions& options, std::int64_t rows) {
  std::vector<Section> sections;
  const RankPart& part = model.part();
  for (int s = part.first_section; s < part.first_section + part.sections; ++s)
    sections.emplace_back(model.config(), s, model.section(s), capacity_of(model.config(), options, rows));
  return sections;
}

/// A decode step's rows: no two of one sequence, so none looks at another.
bool rows_are_independent(std::span<const Row> rows) {
  for (std::size_t b = 1; b < rows.size(); ++b)
    if (rows[b].slot == rows[b - 1].slot) return false;
  return true;
}

}  // namespace

Engine::Engine(Transport& replica, const Grid& grid, const RankModel& model, const EngineOptions& options,
               const ThreadTeam& team, int lookahead, std::size_t trace_spans)
    : transport_(replica),
      grid_(grid),
      model_(model),
      config_(model.config()),
      options_(options),
      team_(team),
      trace_(trace_spans, &replica),
      rope_(config_, options.context),
      row_capacity_(options.pass_rows()),
      sections_(make_sections(model, options, row_capacity_)),
      groups_(group_sections(model, options)),
      stacked_rows_(std::max(row_capacity_, options.slots * largest(groups_))),
      scratch_(config_, stacked_rows_, options.context, team.size()),
      u_(static_cast<std::size_t>(stacked_rows_ * config_.hidden_size)),
      expected_(4),
      pending_(static_cast<std::size_t>(lookahead + 1)),
      read_out_(replica, grid, model, team, clock_, trace_, options.head, options.readout_rows(),
                options.top) {
  const std::size_t message = static_cast<std::size_t>(row_capacity_ * config_.hidden_size) * sizeof(float);
  const RankPart& part = model.part();
  if (part.first_section > 0 && link_carries(config_, options, part.first_section))
    receive_ = std::make_unique<ReceiveChannel>(replica, grid.rank_of_section(part.first_section - 1),
                                                tag(Tag::hidden_states), kChannelSlots, message);
  if (!part.hosts_last(config_) && link_carries(config_, options, part.first_section + part.sections))
    send_ = std::make_unique<SendChannel>(replica, grid.rank_of_section(part.first_section + part.sections),
                                          tag(Tag::hidden_states), kChannelSlots, message);
  const std::int64_t readouts = options.readout_rows();
  const std::int64_t contributions =
      ReadOut::contributing_sections(config_, part) * readouts * config_.hidden_size;
  for (PendingReadOut& pending : pending_) {
    pending.outputs = AlignedBuffer<float>(static_cast<std::size_t>(contributions));
    pending.readouts.reserve(static_cast<std::size_t>(readouts));
  }
  for (ExpectedMemory& expected : expected_) expected.rows.reserve(static_cast<std::size_t>(row_capacity_));
  if (options.keep_outputs)
    for (int s = 0; s < part.sections; ++s)
      kept_.emplace_back(static_cast<std::size_t>(row_capacity_ * config_.hidden_size));
  for (Section& section : sections_) section_of_.push_back(&section);
}

Engine::~Engine() = default;

void Engine::run_sections(const Pass& pass) {
  STAG_CHECK(static_cast<std::int64_t>(pass.rows.size()) <= row_capacity_, pass.rows.size(), row_capacity_);
  PendingReadOut* pending = pass.readouts.empty() ? nullptr : &new_pending(pass);
  const bool exact = pass.kind == PassKind::exact;
  if (upstream_is_remote() && exact) {
    expect_memory(pass.rows);
    absorb_expected(needs_current_upstream(pass) ? 0 : 1);
  } else if (upstream_is_remote()) {
    absorb_expected(0);
  }
  if (options_.emulated)
    sleep_through(pass, pending);
  else
    team_.run(work_of(pass.rows.size()), [&](Worker& worker) { forward(worker, pass, pending); });
  if (send_ && exact) send_downstream(pass.rows.size());
  if (pass.kind != PassKind::draft) ++pass_number_;
}

/// The messages of earlier passes are always needed; this pass's own only where rows look at each other's
/// positions, where the section continues the upstream's stream, or where the schedule says so.
bool Engine::needs_current_upstream(const Pass& pass) const {
  const int first = sections_.front().index();
  if (config_.sections.links[static_cast<std::size_t>(first - 1)] == Link::chained) return true;
  if (options_.schedule == Schedule::sequential || config_.sections.cross_attention.lag == 0) return true;
  return !rows_are_independent(pass.rows);
}

void Engine::expect_memory(std::span<const Row> rows) {
  STAG_CHECK(expected_count_ < expected_.size(), expected_count_);
  ExpectedMemory& expected = expected_[(expected_first_ + expected_count_++) % expected_.size()];
  expected.rows.assign(rows.begin(), rows.end());
  expected.pass = pass_number_;
}

/// Takes in the oldest upstream messages until only `keep` are outstanding. Staggered: projected to keys and
/// values; chained: copied to u_ as the first section's input.
void Engine::absorb_expected(std::size_t keep) {
  Section& first = sections_.front();
  const bool chained = config_.sections.links[static_cast<std::size_t>(first.index() - 1)] == Link::chained;
  const std::int64_t d = config_.hidden_size;
  for (; expected_count_ > keep;
       --expected_count_, expected_first_ = (expected_first_ + 1) % expected_.size()) {
    const ExpectedMemory& expected = expected_[expected_first_];
    const float* y = wait_for_states(expected, chained);
    const std::size_t rows = expected.rows.size();
    if (chained) {
      std::copy_n(y, rows * static_cast<std::size_t>(d), u_.data());
    } else if (first.has_memory()) {
      const TraceScope span(trace_, TraceSpan::Kind::absorb, expected.pass, rows, first.index());
      if (options_.emulated)
        transport_.sleep(rows_are_independent(expected.rows) ? emulated_.step.absorb_s : 0);
      else
        team_.run(work_of(rows), [&](Worker& worker) {
          absorb_memory(context_of(worker), batch_of(0, 1, expected.rows), y, d, 0);
        });
    }
    receive_->release();
  }
}

/// The oldest upstream message, [rows, d], in its slot.
const float* Engine::wait_for_states(const ExpectedMemory& expected, bool chained) {
  const int section = sections_.front().index();
  const int sender = transport_.rank() - 1;
  const TraceScope span(trace_, chained ? TraceSpan::Kind::wait_input : TraceSpan::Kind::wait_memory,
                        expected.pass, expected.rows.size(), section);
  const PhaseScope phase(clock_, chained ? Phase::wait_input : Phase::wait_memory);
  const std::span<const std::byte> message =
      receive_->wait({chained ? "the input" : "the memory", sender, expected.pass, section});
  trace_.has(TraceMessage::Kind::states, sender, expected.pass);
  STAG_CHECK(
      message.size() == expected.rows.size() * static_cast<std::size_t>(config_.hidden_size) * sizeof(float),
      message.size(), expected.rows.size());
  return reinterpret_cast<const float*>(message.data());
}

void Engine::emulate(const EmulatedWork& work) {
  STAG_CHECK(options_.emulated);
  emulated_ = work;
  read_out_.emulate(work.step.head_s, work.step.choice_s);
}

/// In pieces, as messages are looked after between layers.
void Engine::sleep_through(const Pass& pass, PendingReadOut* pending) {
  constexpr double kPiece = 200e-6;
  const PhaseScope phase(clock_, Phase::feed_forward);
  const double begin = trace_.now();
  const double chunks = static_cast<double>(pass.rows.size()) / static_cast<double>(emulated_.chunk_rows);
  const double seconds =
      rows_are_independent(pass.rows) ? emulated_.step.layers_s : emulated_.chunk.layers_s * chunks;
  const double end = transport_.now() + seconds;
  for (double left = seconds; left > 0; left = end - transport_.now()) {
    transport_.sleep(std::min(left, kPiece));
    between_layers();
  }
  latest_outputs_ = u_.span().first(pass.rows.size() * static_cast<std::size_t>(config_.hidden_size));
  for (const Section& section : sections_) {
    record_section(section.index(), pass.rows.size(), begin);
    if (pending) contribute(section.index(), latest_outputs_.data(), *pending);
  }
}

ForwardContext Engine::context_of(Worker& worker) {
  return {worker, config_, rope_, scratch_, clock_, this};
}

Batch Engine::batch_of(std::size_t first, std::size_t count, std::span<const Row> rows) const {
  return {std::span(section_of_).subspan(first, count), rows};
}

/// Multiply-adds between two meetings of the threads, roughly: one square product.
std::int64_t Engine::work_of(std::size_t rows) const {
  return static_cast<std::int64_t>(rows) * config_.hidden_size * config_.num_attention_heads *
         config_.head_dim;
}

/// Every thread of the rank runs the own sections, in order or, where they can, together.
void Engine::forward(Worker& worker, const Pass& pass, PendingReadOut* pending) {
  const ForwardContext context = context_of(worker);
  const bool exact = pass.kind == PassKind::exact, step = exact && rows_are_independent(pass.rows);
  for (const SectionGroup& group : groups_) {
    if (step) {
      run_group(context, group, pass, pending);
      continue;
    }
    for (std::size_t i = group.first; i < group.first + group.count; ++i)
      if (exact || sections_[i].index() == config_.sections.count - 1)
        run_group(context, {i, 1}, pass, pending);
  }
}

void Engine::run_group(const ForwardContext& context, const SectionGroup& group, const Pass& pass,
                       PendingReadOut* pending) {
  const double begin = trace_.now();
  if (context.worker.leads()) begin_group(group, pass);
  context.worker.meet();
  run_layers(context, batch_of(group.first, group.count, pass.rows), u_.data(), config_.hidden_size,
             pass.kind == PassKind::exact ? 0 : own_bank());
  if (context.worker.leads()) end_group(group, pass, pending, begin);
  pass_memory_on(context, group, pass);
}

std::span<float> Engine::rows_of(const SectionGroup& group, std::size_t section, const Pass& pass) {
  const std::size_t values = pass.rows.size() * static_cast<std::size_t>(config_.hidden_size);
  return u_.span().subspan((section - group.first) * values, values);
}

void Engine::begin_group(const SectionGroup& group, const Pass& pass) {
  for (std::size_t i = group.first; i < group.first + group.count; ++i) {
    const int s = sections_[i].index();
    const std::span<float> u = rows_of(group, i, pass);
    if (config_.starts_from_embedding(s))
      embed(pass.tokens, u.data());
    else if (latest_outputs_.data() != u.data() && i > 0)  // chained to the last of a group
      std::ranges::copy(latest_outputs_, u.begin());
    delay(s);
  }
}

void Engine::end_group(const SectionGroup& group, const Pass& pass, PendingReadOut* pending, double begin) {
  for (std::size_t i = group.first; i < group.first + group.count; ++i) {
    const std::span<const float> u = latest_outputs_ = rows_of(group, i, pass);
    record_section(sections_[i].index(), pass.rows.size(), begin);
    if (!kept_.empty()) std::ranges::copy(u, kept_[i].data());
    if (pending) contribute(sections_[i].index(), u.data(), *pending);
  }
}

/// What the group's sections put out becomes memory of the own sections behind them, and of the last section
/// itself where recurrent decoding wants that.
void Engine::pass_memory_on(const ForwardContext& context, const SectionGroup& group, const Pass& pass) {
  const std::int64_t d = config_.hidden_size;
  const std::size_t last = group.first + group.count - 1;
  const bool exact = pass.kind == PassKind::exact;
  if (sections_[last].index() == config_.sections.count - 1 && (!exact || own_bank() == 1))
    absorb_memory(context, batch_of(last, 1, pass.rows), rows_of(group, last, pass).data(), d, own_bank());
  if (!exact) return;
  for (std::size_t i = group.first; i <= last && i + 1 < sections_.size(); ++i)
    if (sections_[i + 1].has_memory())
      absorb_memory(context, batch_of(i + 1, 1, pass.rows), rows_of(group, i, pass).data(), d, 0);
}

void Engine::embed(std::span<const std::int32_t> tokens, float* u) {
  const PhaseScope phase(clock_, Phase::embedding);
  const EmbeddingWeights& embedding = model_.embedding();
  const std::int64_t d = config_.hidden_size;
  for (const std::int32_t token : tokens) {
    STAG_CHECK(token >= 0 && token < config_.vocab_size, token);
    embedding.look_up(token, u);
    if (config_.embedding_scale != 1) scale(u, static_cast<float>(config_.embedding_scale), d);
    u += d;
  }
}

void Engine::delay(int section) const {
  for (const SectionDelay& delay : options_.delays)
    if (delay.section == section) std::this_thread::sleep_for(std::chrono::duration<double>(delay.seconds));
}

/// Copies the section's outputs at the read-out rows, weighted for linear_combination. outputs: [own
/// section][row][d]
void Engine::contribute(int section, const float* u, PendingReadOut& pending) {
  const auto d = static_cast<std::size_t>(config_.hidden_size);
  const bool combined = config_.sections.readout == Readout::linear_combination;
  if (!combined && section != config_.sections.count - 1) return;
  const std::size_t place = combined ? static_cast<std::size_t>(section - sections_.front().index()) : 0;
  float* out = pending.outputs.data() + place * pending.readouts.size() * d;
  for (const ReadoutRow& readout : pending.readouts) {
    std::copy_n(u + static_cast<std::size_t>(readout.row) * d, d, out);
    if (combined)
      scale(out, model_.readout_coefficients()[static_cast<std::size_t>(section)], config_.hidden_size);
    out += d;
  }
}

void Engine::send_downstream(std::size_t rows) {
  const std::size_t bytes = latest_outputs_.size_bytes();
  const TraceScope span(trace_, TraceSpan::Kind::send, pass_number_, rows, sections_.back().index());
  std::span<std::byte> slot;
  {
    const PhaseScope phase(clock_, Phase::wait_send);
    slot = send_->acquire({"an earlier message to leave", send_->peer(), pass_number_});
  }
  std::memcpy(slot.data(), latest_outputs_.data(), bytes);
  trace_.sends(TraceMessage::Kind::states, send_->peer(), pass_number_);
  send_->post(bytes);
  sending_ = true;
}

/// Large messages need both ends to look after them. Nothing is asked while nothing is under way, as a test
/// may give the core away.
void Engine::between_layers() {
  if (sending_) sending_ = !send_->idle();
  if (expected_count_ > 0) receive_->ready();
}

Engine::PendingReadOut& Engine::new_pending(const Pass& pass) {
  STAG_CHECK(pending_count_ < static_cast<int>(pending_.size()), pending_count_);
  PendingReadOut& pending =
      pending_[(pending_first_ + static_cast<std::size_t>(pending_count_++)) % pending_.size()];
  pending.readouts.assign(pass.readouts.begin(), pass.readouts.end());
  pending.pass = pass_number_;
  return pending;
}

Engine::PendingReadOut& Engine::oldest_pending() {
  STAG_CHECK(pending_count_ > 0);
  PendingReadOut& pending = pending_[pending_first_];
  pending_first_ = (pending_first_ + 1) % pending_.size();
  --pending_count_;
  return pending;
}

std::span<const ReadoutResult> Engine::read_out_alone() {
  const PendingReadOut& pending = oldest_pending();
  return read_out_.run_alone(pending.readouts, pending.outputs.data(), pending.pass);
}

ReadoutOutcome Engine::read_out() {
  const PendingReadOut& pending = oldest_pending();
  const TraceScope span(trace_, TraceSpan::Kind::read_out, pending.pass, pending.readouts.size());
  // What has arrived meanwhile is projected while the candidates travel.
  return read_out_.run(pending.readouts, pending.outputs.data(), pending.pass, [this] {
    if (upstream_is_remote() && expected_count_ > 0 && receive_->ready())
      absorb_expected(expected_count_ - 1);
  });
}

void Engine::drain() {
  if (upstream_is_remote()) absorb_expected(0);
}

void Engine::copy_prefix(int from, int to, std::int64_t positions, std::int64_t written) {
  drain();
  if (options_.emulated) return;
  for (Section& section : sections_) section.copy_prefix(from, to, positions, written);
}

MemoryReach Engine::reach() const {
  return Section::reach(config_, capacity_of(config_, options_, row_capacity_));
}

std::span<const float> Engine::kept_outputs(int section) const {
  return kept_.at(static_cast<std::size_t>(section - model_.part().first_section)).span();
}

void Engine::record_section(int section, std::size_t rows, double begin) {
  if (!trace_.on()) return;
  trace_.record(TraceSpan{TraceSpan::Kind::section, section, pass_number_, static_cast<std::int32_t>(rows),
                          begin, trace_.now()});
}

}  // namespace stagformer::internal
