#include "cli/eval_text.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/phase_clock.hpp"
#include "cli/files.hpp"
#include "cli/scoring_watch.hpp"
#include "pipeline/agreement.hpp"
#include "pipeline/evaluation.hpp"

namespace stagformer::internal {
namespace {

class TextEvaluation {
 public:
  TextEvaluation(ModelRun& run, const EvalSettings& settings) : run_(run), settings_(settings) {}

  void execute() {
    const std::vector<Window> windows = make_windows();
    run_.load(engine_options(windows.size()), true, true);
    const double begin = now_seconds();
    const std::vector<WindowScores> scores = score(windows);
    const double seconds = now_seconds() - begin;
    run_.report(seconds, run_.is_root() ? finish(windows, scores, seconds) : nlohmann::json());
  }

 private:
  /// Windows go one by one, but for recurrent steps.
  EngineOptions engine_options(std::size_t windows) const {
    EngineOptions options = settings_.run.engine_options();
    options.score_all_rows = true;
    options.context = window_length_;
    if (options.decode == DecodeMode::recurrent)
      options.slots = static_cast<int>(std::min<std::int64_t>(
          settings_.run.batch, std::max<std::int64_t>(1, static_cast<std::int64_t>(windows))));
    return options;
  }

  std::vector<Window> make_windows() {
    Bytes bytes;
    agree(run_.world(), [&] {
      window_length_ = settings_.tokens_together(run_.max_context());
      if (!run_.is_root()) return;
      if (settings_.per_token) check_writable(*settings_.per_token);
      const std::vector<std::int32_t> tokens = run_.tokenizer().encode(read_file(*settings_.text));
      for (const std::int32_t id : tokens)
        if (id < 0 || id >= run_.config().vocab_size)
          throw CheckpointError("the tokenizer gives id " + std::to_string(id) +
                                ", outside the model's vocabulary");
      if (tokens.empty()) throw InputError(*settings_.text + " holds no tokens");
      bytes.resize(tokens.size() * sizeof(std::int32_t));
      std::memcpy(bytes.data(), tokens.data(), bytes.size());
    });
    bytes = run_.world().broadcast(std::move(bytes), 0);
    std::vector<std::int32_t> tokens(bytes.size() / sizeof(std::int32_t));
    std::memcpy(tokens.data(), bytes.data(), bytes.size());
    const ModelConfig& config = run_.config();
    std::vector<Window> windows = cut_windows(
        tokens, window_length_, config.add_bos && config.bos_token_id ? *config.bos_token_id : -1);
    agree(run_.world(), [&] {
      if (windows.empty()) throw InputError(*settings_.text + " is too short: nothing to predict");
    });
    return windows;
  }

  /// Replica r scores windows r, r + replicas, ...; their leaders' scores meet on all ranks.
  std::vector<WindowScores> score(const std::vector<Window>& windows) {
    const auto replicas = static_cast<std::size_t>(run_.grid().replicas);
    const auto own = static_cast<std::size_t>(run_.replica_number());
    std::vector<Window> mine;
    for (std::size_t w = own; w < windows.size(); w += replicas) mine.push_back(windows[w]);
    Evaluator evaluator(run_.engine(), run_.options(), run_.lookahead(),
                        settings_.recurrent_after.value_or(0));
    ScoringWatch watch(run_, "windows", windows.size());
    const std::vector<WindowScores> scores =
        evaluator.score(mine, [&](std::size_t done) { watch.step(done); });
    watch.finish(!evaluator.stopped());
    return gather(windows, scores);
  }

  std::vector<WindowScores> gather(const std::vector<Window>& windows,
                                   const std::vector<WindowScores>& mine) {
    Bytes bytes;
    if (run_.leads_replica())
      for (const WindowScores& scores : mine) {
        const std::size_t at = bytes.size();
        bytes.resize(at + scores.size() * sizeof(float));
        std::memcpy(bytes.data() + at, scores.data(), scores.size() * sizeof(float));
      }
    const std::vector<Bytes> all = run_.world().all_gather(bytes);
    const auto replicas = static_cast<std::size_t>(run_.grid().replicas);
    std::vector<WindowScores> scores(windows.size());
    for (std::size_t replica = 0; replica < replicas; ++replica) {
      const Bytes& part = all[replica * static_cast<std::size_t>(run_.grid().ranks_per_replica())];
      std::size_t at = 0;
      for (std::size_t w = replica; w < windows.size(); w += replicas) {
        scores[w].resize(windows[w].size() - 1);
        std::memcpy(scores[w].data(), part.data() + at, scores[w].size() * sizeof(float));
        at += scores[w].size() * sizeof(float);
      }
    }
    return scores;
  }

  nlohmann::json finish(const std::vector<Window>& windows, const std::vector<WindowScores>& scores,
                        double seconds) const {
    double sum = 0;
    std::int64_t count = 0;
    for (const WindowScores& window : scores)
      for (const float log_probability : window) {
        sum -= log_probability;
        ++count;
      }
    const double nats = sum / static_cast<double>(count), perplexity = std::exp(nats);
    spdlog::info(
        "{} tokens predicted in {} windows of up to {}: {:.5f} nats a token, perplexity {:.4f}, {:.1f} "
        "tokens/s",
        count, windows.size(), window_length_, nats, perplexity, static_cast<double>(count) / seconds);
    if (settings_.per_token) write_per_token(windows, scores);
    char line[64];
    std::snprintf(line, sizeof line, "%.6f\n", perplexity);
    write_stdout(line);
    return {{"tokens", count},
            {"windows", windows.size()},
            {"nats_per_token", nats},
            {"perplexity", perplexity},
            {"seconds", seconds}};
  }

  void write_per_token(const std::vector<Window>& windows, const std::vector<WindowScores>& scores) const {
    std::string csv = "position,token_id,log_probability\n";
    char line[64];
    for (std::size_t w = 0; w < windows.size(); ++w)
      for (std::size_t t = 0; t < scores[w].size(); ++t) {
        std::snprintf(line, sizeof line, "%zu,%d,%.9g\n", t + 1, windows[w][t + 1],
                      static_cast<double>(scores[w][t]));
        csv += line;
      }
    write_file_atomically(*settings_.per_token, csv);
  }

  ModelRun& run_;
  const EvalSettings& settings_;
  std::int64_t window_length_ = 0;
};

}  // namespace

void evaluate_text(ModelRun& run, const EvalSettings& settings) {
  TextEvaluation(run, settings).execute();
}

}  // namespace stagformer::internal
