#include "pipeline/generation.hpp"

#include <algorithm>

#include "base/check.hpp"

namespace stagformer::internal {
namespace {

// Steps ahead of a sequence's end that its slot counts as about to be free.
constexpr std::int64_t kEndsSoon = 4;
constexpr std::size_t kMostStepTimes = 1 << 16;

bool is_eos(const ModelConfig& config, std::int32_t token) {
  return std::ranges::find(config.eos_token_ids, static_cast<std::int64_t>(token)) !=
         config.eos_token_ids.end();
}

/// Bytes at the end of `text` that might be the beginning of a stop string.
std::size_t held_back(const std::string& text, const std::vector<std::string>& stops) {
  std::size_t held = 0;
  for (const std::string& stop : stops)
    for (std::size_t n = std::min(stop.size() - 1, text.size()); n > held; --n)
      if (text.compare(text.size() - n, n, stop, 0, n) == 0) held = n;
  return held;
}

}  // namespace

Generator::Generator(Engine& engine, Transport& replica, const ModelConfig& config,
                     const Tokenizer& tokenizer, const EngineOptions& options, Events events)
    : engine_(engine),
      config_(config),
      tokenizer_(tokenizer),
      options_(options),
      events_(std::move(events)),
      contents_(options.slots, options.context, engine.reach()) {
  for (int slot = options.slots - 1; slot >= 0; --slot) free_slots_.push_back(slot);
  active_.reserve(static_cast<std::size_t>(options.slots));
  times_.step_s.reserve(kMostStepTimes);
  if (options.draft > 0) drafter_ = std::make_unique<Drafter>(engine, replica, options);
}

bool Generator::run(std::vector<GenerationRequest> requests, RequestSource* source) {
  start_s_ = now_seconds();
  for (const Sequence& stopped : active_) free_slots_.push_back(stopped.slot);
  active_.clear();
  waiting_.assign(std::make_move_iterator(requests.begin()), std::make_move_iterator(requests.end()));
  source_ = source;
  bool stopped = false;
  while (!stopped && (!waiting_.empty() || !active_.empty() || source_)) {
    if (events_.should_stop && events_.should_stop()) engine_.request_stop();
    stopped = !admit();
    if (active_.empty()) continue;
    stopped = prefill_chunk();
    stopped = decode_step() || stopped;
  }
  engine_.drain();
  return !stopped;
}

/// Fills the free slots as far as there is something to fill them with; false if the source wants an end.
bool Generator::admit() {
  for (; !waiting_.empty() && !free_slots_.empty(); waiting_.pop_front()) start(std::move(waiting_.front()));
  if (!source_ || free_slots_.empty()) return true;
  const bool idle = active_.empty();
  Supply supply = source_->take(free_slots_.size(), idle);
  STAG_CHECK(supply.requests.size() <= free_slots_.size(), supply.requests.size());
  for (GenerationRequest& request : supply.requests) start(std::move(request));
  if (!supply.more) source_ = nullptr;
  return !(idle && supply.stop);
}

void Generator::start(GenerationRequest&& request) {
  STAG_CHECK(!request.prompt.empty());
  Sequence& sequence = active_.emplace_back();
  sequence.request = std::move(request);
  if (has_penalties(sequence.request.sampling)) sequence.history.add_prompt(sequence.request.prompt);
  const auto free = free_slots_.begin() + static_cast<std::ptrdiff_t>(best_slot(sequence.request.prompt));
  sequence.slot = *free;
  free_slots_.erase(free);
  if (options_.share_prefixes)
    sequence.prompt_done = contents_.in_slot(sequence.slot, sequence.request.prompt).positions;
  contents_.cut(sequence.slot, sequence.prompt_done);
}

/// The free slot that holds most of the prompt; else the one whose loss is the least.
std::size_t Generator::best_slot(std::span<const std::int32_t> prompt) const {
  const auto worth = [&](int slot) {
    return std::pair(contents_.in_slot(slot, prompt).positions, -contents_.known(slot));
  };
  std::size_t best = free_slots_.size() - 1;
  for (std::size_t i = free_slots_.size(); i-- > 0;)
    if (worth(free_slots_[i]) > worth(free_slots_[best])) best = i;
  return best;
}

/// Takes what another slot holds of the prompt, where that is more than the own slot does. Late: sequences
/// that begin together can take from the first of them.
void Generator::share_prefix(Sequence& sequence) {
  sequence.begun = true;
  if (!options_.share_prefixes) return;
  const KnownPrefix found = contents_.longest(sequence.request.prompt);
  if (found.positions > sequence.prompt_done) {
    engine_.copy_prefix(found.slot, sequence.slot, found.positions, contents_.written(found.slot));
    contents_.copy(found, sequence.slot);
    sequence.prompt_done = found.positions;
  }
  times_.shared_prompt_tokens += sequence.prompt_done;
}

GenerationLoad Generator::load() const {
  GenerationLoad load;
  load.free_slots = static_cast<int>(free_slots_.size());
  load.running = static_cast<std::int64_t>(active_.size());
  load.generated = times_.generated_tokens;
  for (const Sequence& sequence : active_) {
    const std::int64_t to_go = sequence.request.max_tokens - static_cast<std::int64_t>(sequence.ids.size());
    load.tokens_to_go += to_go;
    load.ending += to_go <= kEndsSoon;
  }
  return load;
}

/// Of the token `ahead` places behind the next one.
SamplingKey Generator::key_of(const Sequence& sequence, std::size_t ahead) const {
  const auto position = sequence.request.prompt.size() + sequence.ids.size() + ahead;
  return {sequence.request.sampling.seed, static_cast<std::uint64_t>(sequence.request.index), position};
}

ReadoutRow Generator::readout_of(const Sequence& sequence, std::size_t row, std::size_t ahead) const {
  const GenerationRequest& request = sequence.request;
  STAG_CHECK(ahead == 0 || !has_penalties(request.sampling));  // guesses are no part of a history
  return {static_cast<std::int32_t>(row), request.sampling,
          key_of(sequence, ahead),        -1,
          request.log_probabilities,      has_penalties(request.sampling) ? &sequence.history : nullptr,
          request.top_log_probabilities};
}

/// Where a sequence that has generated something goes on, with the guesses that it has room for.
DraftStart Generator::start_of(const Sequence& sequence) const {
  const auto done = static_cast<std::int64_t>(sequence.ids.size());
  const std::int64_t position = static_cast<std::int64_t>(sequence.request.prompt.size()) + done - 1;
  const std::int64_t count = std::min<std::int64_t>(options_.draft, sequence.request.max_tokens - done - 1);
  return {{sequence.slot, position},
          sequence.ids.back(),
          sequence.request.sampling,
          key_of(sequence, 0),
          static_cast<std::int32_t>(count)};
}

/// One chunk of the first prompt that is not through yet; true if a rank asked to stop.
bool Generator::prefill_chunk() {
  const auto found = std::ranges::find_if(active_, [](const Sequence& s) {
    return s.prompt_done < static_cast<std::int64_t>(s.request.prompt.size());
  });
  if (found == active_.end()) return false;
  const double begin = now_seconds();
  Sequence& sequence = *found;
  if (!sequence.begun) share_prefix(sequence);
  const auto length = static_cast<std::int64_t>(sequence.request.prompt.size());
  const std::int64_t count = std::min(options_.chunk, length - sequence.prompt_done);
  rows_.clear();
  readouts_.clear();
  for (std::int64_t i = 0; i < count; ++i) rows_.push_back({sequence.slot, sequence.prompt_done + i});
  const bool last = sequence.prompt_done + count == length;
  if (last) readouts_.push_back(readout_of(sequence, static_cast<std::size_t>(count - 1), 0));
  const auto tokens =
      std::span(sequence.request.prompt)
          .subspan(static_cast<std::size_t>(sequence.prompt_done), static_cast<std::size_t>(count));
  engine_.run_sections({rows_, tokens, readouts_, PassKind::exact});
  contents_.append(sequence.slot, tokens);
  sequence.prompt_done += count;
  times_.prompt_tokens += count;
  bool stop = false;
  if (last) {
    const ReadoutOutcome outcome = engine_.read_out();
    stop = outcome.stop_requested;
    if (times_.first_token_s == 0) times_.first_token_s = now_seconds() - start_s_;
    if (take(sequence, outcome, 0)) remove_finished({static_cast<std::size_t>(found - active_.begin())});
  }
  times_.prompt_s += now_seconds() - begin;
  return stop;
}

/// The step's rows: of every sequence whose prompt is through its newest token and the guesses behind it.
void Generator::gather_step() {
  rows_.clear();
  tokens_.clear();
  readouts_.clear();
  stepped_.clear();
  starts_.clear();
  for (std::size_t i = 0; i < active_.size(); ++i) {
    if (active_[i].ids.empty()) continue;
    stepped_.push_back(i);
    starts_.push_back(start_of(active_[i]));
  }
  drafts_ = drafter_ ? drafter_->run(starts_) : std::span<const std::int32_t>();
  for (std::size_t k = 0; k < starts_.size(); ++k) {
    const DraftStart& start = starts_[k];
    for (std::size_t ahead = 0; ahead <= static_cast<std::size_t>(start.count); ++ahead) {
      readouts_.push_back(readout_of(active_[stepped_[k]], rows_.size(), ahead));
      rows_.push_back({start.row.slot, start.row.position + static_cast<std::int64_t>(ahead)});
      tokens_.push_back(ahead == 0 ? start.token : draft_of(k, ahead - 1));
    }
  }
}

/// At least one token for every sequence whose prompt is through; true if a rank asked to stop.
bool Generator::decode_step() {
  const double begin = now_seconds();
  gather_step();
  if (rows_.empty()) return false;
  engine_.run_sections({rows_, tokens_, readouts_, step_kind(options_.decode)});
  const ReadoutOutcome outcome = engine_.read_out();
  finished_.clear();
  std::size_t first = 0;
  for (std::size_t k = 0; k < stepped_.size(); ++k) {
    const std::size_t rows = static_cast<std::size_t>(starts_[k].count) + 1;
    if (take_step(k, first, outcome)) finished_.push_back(stepped_[k]);
    first += rows;
  }
  remove_finished(finished_);
  const double seconds = now_seconds() - begin;
  times_.decode_s += seconds;
  count_step(seconds);
  times_.sequence_steps += static_cast<std::int64_t>(stepped_.size());
  return outcome.stop_requested;
}

/// A day has more steps than a list of all should have: where it is full every other time goes.
void Generator::count_step(double seconds) {
  if (times_.steps++ % steps_per_time_ != 0) return;
  std::vector<float>& kept = times_.step_s;
  if (kept.size() == kMostStepTimes) {
    for (std::size_t i = 0; i < kMostStepTimes / 2; ++i) kept[i] = kept[2 * i];
    kept.resize(kMostStepTimes / 2);
    steps_per_time_ *= 2;
  }
  kept.push_back(static_cast<float>(seconds));
}

/// Takes a step's results in, as far as they followed right guesses; true if the sequence has ended.
bool Generator::take_step(std::size_t k, std::size_t first, const ReadoutOutcome& outcome) {
  const auto results = outcome.results.subspan(first, static_cast<std::size_t>(starts_[k].count) + 1);
  times_.drafted_tokens += static_cast<std::int64_t>(results.size()) - 1;
  Sequence& sequence = active_[stepped_[k]];
  const DraftStart& start = starts_[k];
  contents_.wrote(start.row.slot, start.row.position + 1 + options_.draft);
  for (std::size_t ahead = 0; ahead < results.size(); ++ahead) {
    // Of recurrent steps caches hold something else than of a prompt.
    const std::int32_t input = ahead == 0 ? start.token : draft_of(k, ahead - 1);
    if (options_.decode == DecodeMode::exact) contents_.append(start.row.slot, {&input, 1});
    if (take(sequence, outcome, first + ahead)) return true;
    if (ahead + 1 == results.size() || results[ahead].token != draft_of(k, ahead)) return false;
    ++times_.accepted_tokens;
  }
  return false;
}

bool Generator::take(Sequence& sequence, const ReadoutOutcome& outcome, std::size_t row) {
  const ReadoutResult& result = outcome.results[row];
  if (!result.finite) {
    finish(sequence, "error",
           "the model gave values that are not finite at position " +
               std::to_string(sequence.request.prompt.size() + sequence.ids.size()));
    contents_.forget(sequence.slot);
    return true;
  }
  if (!sequence.request.ignore_eos && is_eos(config_, result.token)) {
    finish(sequence, "eos");
    return true;
  }
  ++times_.generated_tokens;
  sequence.ids.push_back(result.token);
  if (sequence.request.log_probabilities) sequence.log_probabilities.push_back(result.log_probability);
  if (sequence.request.top_log_probabilities > 0) {
    const std::size_t stride = outcome.top.size() / outcome.results.size();
    const auto top =
        outcome.top.subspan(row * stride, static_cast<std::size_t>(sequence.request.top_log_probabilities));
    sequence.top.insert(sequence.top.end(), top.begin(), top.end());
  }
  if (has_penalties(sequence.request.sampling)) sequence.history.add_generated(result.token);
  if (append_text(sequence, result.token)) {
    finish(sequence, "stop");
    return true;
  }
  if (static_cast<std::int64_t>(sequence.ids.size()) < sequence.request.max_tokens) {
    show(sequence, false);
    return false;
  }
  finish(sequence, "length");
  return true;
}

/// Adds a token's text; true if a stop string is complete: the text is then cut before the first one.
bool Generator::append_text(Sequence& sequence, std::int32_t token) {
  const std::size_t before = sequence.text.size();
  sequence.text += sequence.utf8.push(tokenizer_.token_bytes(token));
  std::size_t cut = std::string::npos;
  for (const std::string& stop : sequence.request.stop) {
    const std::size_t from = before > stop.size() ? before - stop.size() : 0;
    cut = std::min(cut, sequence.text.find(stop, from));
  }
  if (cut == std::string::npos) return false;
  sequence.text.resize(cut);
  return true;
}

void Generator::show(Sequence& sequence, bool all) {
  if (!events_.on_text) return;
  const std::size_t held = all ? 0 : held_back(sequence.text, sequence.request.stop);
  const std::size_t end = std::max(sequence.text.size() - held, sequence.shown);
  events_.on_text(sequence.request, sequence.text.substr(sequence.shown, end - sequence.shown),
                  std::span(sequence.ids).subspan(sequence.shown_ids));
  sequence.shown = end;
  sequence.shown_ids = sequence.ids.size();
}

void Generator::finish(Sequence& sequence, const char* reason, const std::string& error) {
  if (std::string_view(reason) != "stop") sequence.text += sequence.utf8.finish();
  show(sequence, true);
  if (events_.on_result)
    events_.on_result({sequence.request.index, sequence.text, sequence.ids, sequence.log_probabilities,
                       reason, error, sequence.top});
}

void Generator::remove_finished(const std::vector<std::size_t>& finished) {
  for (auto i = finished.rbegin(); i != finished.rend(); ++i) {
    free_slots_.push_back(active_[*i].slot);
    active_.erase(active_.begin() + static_cast<std::ptrdiff_t>(*i));
  }
}

}  // namespace stagformer::internal
