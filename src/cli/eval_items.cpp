#include "cli/eval_items.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>

#include "base/byte_string.hpp"
#include "base/phase_clock.hpp"
#include "cli/files.hpp"
#include "cli/item_file.hpp"
#include "cli/item_scores.hpp"
#include "cli/scoring_watch.hpp"
#include "pipeline/agreement.hpp"
#include "pipeline/scoring.hpp"
#include "pipeline/scoring_text.hpp"

namespace stagformer::internal {
namespace {

Bytes packed(const std::vector<ScoringSequence>& sequences) {
  ByteWriter out;
  for (const ScoringSequence& sequence : sequences)
    out.add(sequence.first_scored).add(sequence.shared).add(sequence.tokens);
  return to_bytes(out.bytes());
}

std::vector<ScoringSequence> unpacked(const Bytes& bytes) {
  std::vector<ScoringSequence> sequences;
  const std::string text = to_text(bytes);
  for (ByteReader in(text); !in.at_end();) {
    ScoringSequence& sequence = sequences.emplace_back();
    in.take(sequence.first_scored);
    in.take(sequence.shared);
    in.take(sequence.tokens);
  }
  return sequences;
}

class ItemEvaluation {
 public:
  ItemEvaluation(ModelRun& run, const EvalSettings& settings) : run_(run), settings_(settings) {}

  void execute() {
    prepare();
    run_.load(engine_options(), true, true);
    const double begin = now_seconds();
    const std::vector<SequenceScore> scores = score();
    const double seconds = now_seconds() - begin;
    nlohmann::json result;
    agree(run_.world(), [&] {
      if (run_.is_root()) result = finish(scores, seconds);
    });
    run_.report(seconds, result);
  }

 private:
  EngineOptions engine_options() const {
    EngineOptions options = settings_.run.engine_options();
    options.score_all_rows = true;
    options.context = 1;
    for (const ScoringSequence& sequence : sequences_)
      options.context = std::max(options.context, sequence.rows());
    const auto count = std::max<std::int64_t>(1, static_cast<std::int64_t>(sequences_.size()));
    options.slots = static_cast<int>(std::min({settings_.run.batch, count, options.chunk}));
    return options;
  }

  std::vector<EvalItem> read() const {
    if (settings_.pairs) return read_pairs(*settings_.pairs);
    if (settings_.choices) return read_choices(*settings_.choices);
    return read_requests(*settings_.requests);
  }

  /// Rank 0 reads and tokenizes everything before the model is loaded and hands it round.
  void prepare() {
    Bytes bytes;
    agree(run_.world(), [&] {
      longest_ = settings_.tokens_together(run_.max_context());
      if (!run_.is_root()) return;
      for (const auto& path : {settings_.per_item, settings_.output})
        if (path) check_writable(*path);
      items_ = read();
      for (const EvalItem& item : items_) add_sequences(item);
      share_beginnings(sequences_, run_.config(), settings_.run.chunk);
      bytes = packed(sequences_);
    });
    sequences_ = unpacked(run_.world().broadcast(std::move(bytes), 0));
  }

  void add_sequences(const EvalItem& item) {
    const ScoringTexts texts(run_.tokenizer(), run_.config(), longest_);
    const std::string delimiter = settings_.requests ? "" : settings_.delimiter.value_or(" ");
    try {
      if (item.whole_text)
        std::ranges::move(texts.whole(item.endings.front()), std::back_inserter(sequences_));
      else
        for (const std::string& ending : item.endings)
          sequences_.push_back(texts.continuation(item.context, delimiter + ending));
    } catch (const InputError& error) {
      throw InputError(item.place + ": " + error.what());
    }
    ends_.push_back(sequences_.size());
  }

  /// Sequences that share a beginning stay together; replica r takes every such chain r, r + replicas, ...
  std::vector<std::size_t> share_of(int replica) const {
    std::vector<std::size_t> mine;
    std::int64_t chain = -1;
    for (std::size_t i = 0; i < sequences_.size(); ++i) {
      chain += sequences_[i].shared == 0;
      if (chain % run_.grid().replicas == replica) mine.push_back(i);
    }
    return mine;
  }

  /// By sequence, on every rank.
  std::vector<SequenceScore> score() {
    std::vector<ScoringSequence> mine;
    for (const std::size_t i : share_of(run_.replica_number())) mine.push_back(sequences_[i]);
    Scorer scorer(run_.engine(), run_.options(), run_.lookahead());
    ScoringWatch watch(run_, "sequences", sequences_.size());
    const std::vector<SequenceScore> scores = scorer.score(mine, [&](std::size_t done) { watch.step(done); });
    watch.finish(!scorer.stopped());
    ByteWriter mine_scored;
    if (run_.leads_replica()) mine_scored.add_all(scores);
    const std::vector<Bytes> parts = run_.world().all_gather(to_bytes(mine_scored.bytes()));
    std::vector<SequenceScore> all(sequences_.size());
    for (int replica = 0; replica < run_.grid().replicas; ++replica) {
      const std::string part =
          to_text(parts[static_cast<std::size_t>(replica * run_.grid().ranks_per_replica())]);
      ByteReader in(part);
      for (const std::size_t i : share_of(replica)) in.take(all[i]);
    }
    return all;
  }

  std::span<const SequenceScore> scores_of(const std::vector<SequenceScore>& scores, std::size_t item) const {
    const std::size_t begin = item > 0 ? ends_[item - 1] : 0;
    return std::span(scores).subspan(begin, ends_[item] - begin);
  }

  nlohmann::json finish(const std::vector<SequenceScore>& scores, double seconds) const {
    std::int64_t tokens = 0, rows = 0, shared = 0;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      tokens += scores[i].tokens;
      rows += sequences_[i].rows();
      shared += sequences_[i].shared;
    }
    spdlog::info(
        "{} items, {} sequences, {} tokens scored in {:.2f} s; {} of {} positions were shared by neighbours",
        items_.size(), scores.size(), tokens, seconds, shared, rows);
    nlohmann::json result = settings_.requests ? write_results(scores) : write_accuracies(scores);
    result.update({{"items", items_.size()},
                   {"sequences", scores.size()},
                   {"tokens", tokens},
                   {"positions", rows},
                   {"shared_positions", shared},
                   {"seconds", seconds}});
    return result;
  }

  nlohmann::json write_results(const std::vector<SequenceScore>& scores) const {
    std::string lines;
    for (std::size_t i = 0; i < items_.size(); ++i)
      lines += line_of(request_record(items_[i], scores_of(scores, i)));
    if (settings_.output)
      write_file_atomically(*settings_.output, lines);
    else
      write_stdout(lines);
    return nlohmann::json::object();
  }

  nlohmann::json write_accuracies(const std::vector<SequenceScore>& scores) const {
    std::string lines, text;
    nlohmann::json result;
    std::vector<std::pair<std::string, std::int64_t>> right = {{"acc", 0}, {"acc_norm", 0}, {"acc_bytes", 0}};
    for (std::size_t i = 0; i < items_.size(); ++i) {
      const auto record = choice_record(items_[i], scores_of(scores, i));
      for (auto& [name, count] : right) count += record[name].get<bool>();
      if (settings_.per_item) lines += line_of(record);
    }
    if (settings_.per_item) write_file_atomically(*settings_.per_item, lines);
    for (const auto& [name, count] : right) {
      const Accuracy found = accuracy(count, static_cast<std::int64_t>(items_.size()));
      result[name] = found.mean;
      result[name + "_stderr"] = found.standard_error;
      char line[80];
      std::snprintf(line, sizeof line, "%-9s %.4f +- %.4f\n", name.c_str(), found.mean, found.standard_error);
      text += line;
    }
    write_stdout(text);
    return result;
  }

  static std::string line_of(const nlohmann::ordered_json& record) {
    return record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  }

  ModelRun& run_;
  const EvalSettings& settings_;
  std::int64_t longest_ = 0;       // rows of a sequence, at most
  std::vector<EvalItem> items_;    // on rank 0, as is the next
  std::vector<std::size_t> ends_;  // [item] its last sequence's number + 1
  std::vector<ScoringSequence> sequences_;
};

}  // namespace

void evaluate_items(ModelRun& run, const EvalSettings& settings) {
  ItemEvaluation(run, settings).execute();
}

}  // namespace stagformer::internal
