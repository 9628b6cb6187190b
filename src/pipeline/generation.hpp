// Many sequences through one replica: they join and leave at step boundaries, prompts go in chunk by chunk
// between the decode steps of the others. Every rank of the replica runs this loop on the same data and comes
// to the same decisions; what a source brings later reaches all of them at the same boundary.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pipeline/drafting.hpp"
#include "pipeline/engine.hpp"
#include "pipeline/slot_contents.hpp"
#include "text/sampling.hpp"
#include "text/tokenizer.hpp"

namespace stagformer::internal {

/// One prompt with its settings.
struct GenerationRequest {
  std::int64_t index = 0;            ///< place in the input, from 0; keys the random numbers
  std::vector<std::int32_t> prompt;  ///< token ids, BOS included; not empty
  SamplingParams sampling;
  std::int64_t max_tokens = 0;
  std::vector<std::string> stop;  ///< the text ends before the first of these
  bool ignore_eos = false;
  bool log_probabilities = false;
  int top_log_probabilities = 0;  ///< likeliest tokens to report at every position
};

struct GenerationResult {
  std::int64_t index = 0;
  std::string text;                      ///< valid UTF-8, stop string left out
  std::vector<std::int32_t> token_ids;   ///< EOS left out
  std::vector<float> log_probabilities;  ///< of token_ids, where asked for
  std::string finish_reason;             ///< length | stop | eos | error
  std::string error;                     ///< one line, with finish_reason error
  std::vector<TopToken> top = {};        ///< [token_ids.size()][top_log_probabilities]
};

/// Times of one replica's run, for the report.
struct GenerationTimes {
  double prompt_s = 0;  ///< passes over prompts
  double decode_s = 0;  ///< decode steps
  std::int64_t prompt_tokens = 0, generated_tokens = 0, steps = 0;
  std::int64_t shared_prompt_tokens = 0;  ///< of prompts that began as others, not among prompt_tokens
  std::int64_t sequence_steps = 0;        ///< sum over the steps of the sequences in them
  std::int64_t drafted_tokens = 0, accepted_tokens = 0;  ///< guesses made, and those that were right
  double first_token_s = 0;  ///< from the start to the first token of the first sequence
  /// Seconds of decode steps: of all, or of every 2nd, 4th, ... of a long run, so that this stays short.
  std::vector<float> step_s;
};

/// What a replica is busy with between two steps.
struct GenerationLoad {
  int free_slots = 0;
  int ending = 0;                 ///< sequences that will be through within a few steps
  std::int64_t running = 0;       ///< sequences that have a slot
  std::int64_t tokens_to_go = 0;  ///< of these, if none ends before its max_tokens
  std::int64_t generated = 0;     ///< tokens since the start
};

/// What a source gives at one boundary of steps.
struct Supply {
  std::vector<GenerationRequest> requests;
  bool more = true;   ///< a later call may bring more
  bool stop = false;  ///< to an idle replica: there would be more, but the run is to end here
};

/// Requests that come while a replica works.
class RequestSource {
 public:
  virtual ~RequestSource() = default;
  /// Collective over the replica: called on all its ranks between the same two steps, only where slots are
  /// free and only until there is no more. At most `free` requests, the same on every rank. idle: nothing is
  /// running, so the call waits until something comes, the end or a stop.
  virtual Supply take(std::size_t free, bool idle) = 0;
};

class Generator {
 public:
  struct Events {
    /// New text of a sequence, whole characters, already past any possible stop string.
    std::function<void(const GenerationRequest&, const std::string& text, std::span<const std::int32_t> ids)>
        on_text;
    std::function<void(GenerationResult&&)> on_result;
    /// Asked at every step; true makes all ranks of the replica stop after it.
    std::function<bool()> should_stop;
  };

  /// `replica`: the engine's.
  Generator(Engine& engine, Transport& replica, const ModelConfig& config, const Tokenizer& tokenizer,
            const EngineOptions& options, Events events);

  /// Runs all requests, then those of `source`, to their end. False: stopped early; sequences without a
  /// result were given up. May be called again: what the caches hold by then counts.
  bool run(std::vector<GenerationRequest> requests, RequestSource* source = nullptr);
  const GenerationTimes& times() const { return times_; }
  GenerationLoad load() const;

 private:
  struct Sequence {
    GenerationRequest request;
    int slot = 0;
    std::int64_t prompt_done = 0;  // prompt tokens that went through the sections, or another's did
    bool begun = false;            // a pass has been run for it
    std::vector<std::int32_t> ids;
    std::vector<float> log_probabilities;
    std::vector<TopToken> top;
    TokenHistory history;  // kept where the sampling has penalties
    Utf8Stream utf8;
    std::string text;       // all of it so far
    std::size_t shown = 0;  // bytes of text passed to on_text
    std::size_t shown_ids = 0;
  };

  bool admit();
  void start(GenerationRequest&& request);
  std::size_t best_slot(std::span<const std::int32_t> prompt) const;
  void share_prefix(Sequence& sequence);
  void count_step(double seconds);
  bool prefill_chunk();
  bool decode_step();
  void gather_step();
  bool take_step(std::size_t k, std::size_t first, const ReadoutOutcome& outcome);
  std::int32_t draft_of(std::size_t k, std::size_t ahead) const {
    return drafts_[k * static_cast<std::size_t>(options_.draft) + ahead];
  }
  SamplingKey key_of(const Sequence& sequence, std::size_t ahead) const;
  ReadoutRow readout_of(const Sequence& sequence, std::size_t row, std::size_t ahead) const;
  DraftStart start_of(const Sequence& sequence) const;
  /// Takes a result in; true if the sequence has ended.
  bool take(Sequence& sequence, const ReadoutOutcome& outcome, std::size_t row);
  bool append_text(Sequence& sequence, std::int32_t token);
  void show(Sequence& sequence, bool all);
  void finish(Sequence& sequence, const char* reason, const std::string& error = {});
  void remove_finished(const std::vector<std::size_t>& finished);

  Engine& engine_;
  const ModelConfig& config_;
  const Tokenizer& tokenizer_;
  const EngineOptions& options_;
  Events events_;
  std::deque<GenerationRequest> waiting_;
  RequestSource* source_ = nullptr;  // none once it has no more
  std::vector<Sequence> active_;     // in order of admission
  std::vector<int> free_slots_;
  SlotContents contents_;
  GenerationTimes times_;
  std::int64_t steps_per_time_ = 1;
  double start_s_ = 0;
  std::vector<Row> rows_;
  std::vector<std::int32_t> tokens_;
  std::vector<ReadoutRow> readouts_;
  std::vector<std::size_t> stepped_, finished_;
  std::unique_ptr<Drafter> drafter_;
  std::vector<DraftStart> starts_;        // [stepped]
  std::span<const std::int32_t> drafts_;  // [stepped][options.draft]
};

}  // namespace stagformer::internal
