// stagformer eval: the perplexity of a text.
#include <spdlog/spdlog.h>

#include <cmath>
#include <cstdio>
#include <cstring>

#include "cli/command.hpp"
#include "cli/files.hpp"
#include "cli/model_run.hpp"
#include "cli/replica_reports.hpp"
#include "cli/signals.hpp"
#include "pipeline/agreement.hpp"
#include "pipeline/evaluation.hpp"

namespace stagformer::internal {
namespace {

struct EvalSettings {
  RunSettings run;
  std::optional<std::string> text, per_token;
  std::optional<std::int64_t> context, recurrent_after;

  void visit(SettingsVisitor& v) {
    v.text("text", text, "UTF-8 text to score", true);
    v.integer("context", context, 2, kAnyInteger,
              "Tokens of a window, BOS included (default: the model's context)");
    v.text("per-token", per_token, "CSV file: position,token_id,log_probability of every predicted token");
    v.integer("recurrent-after", recurrent_after, 0, kAnyInteger,
              "With --decode recurrent: positions of a window that run all passes (default: 0)");
    run.visit(v);
  }
};

class EvalCommand final : public Command {
 public:
  const char* name() const override { return "eval"; }
  const char* summary() const override { return "Perplexity of a text"; }
  void visit(SettingsVisitor& visitor) override { settings_.visit(visitor); }
  bool runs_a_model() const override { return true; }

  void check() const override {
    if (settings_.recurrent_after && settings_.run.decode != "recurrent")
      throw UsageError("--recurrent-after goes with --decode recurrent");
    settings_.run.check();
  }

  ExitCode run(const MpiSession* session, const std::string& command_line) override {
    ModelRun run(
        *session, settings_.run, [this](SettingsVisitor& v) { settings_.visit(v); }, command_line);
    run.open();
    std::vector<Window> windows = make_windows(run);
    EngineOptions options = settings_.run.engine_options();
    const bool recurrent = options.decode == DecodeMode::recurrent;
    options.score_all_rows = true;
    options.context = window_length(run);
    options.slots =
        recurrent
            ? static_cast<int>(std::min<std::int64_t>(
                  settings_.run.batch, std::max<std::int64_t>(1, static_cast<std::int64_t>(windows.size()))))
            : 1;
    run.load(options, true, true);
    const double begin = now_seconds();
    const std::vector<WindowScores> scores = score(run, windows);
    const double seconds = now_seconds() - begin;
    const nlohmann::json result = run.is_root() ? finish(run, windows, scores, seconds) : nlohmann::json();
    run.report(seconds, result);
    return ExitCode::success;
  }

 private:
  std::int64_t window_length(const ModelRun& run) const {
    return settings_.context.value_or(run.max_context());
  }

  std::vector<Window> make_windows(ModelRun& run) {
    Bytes bytes;
    agree(run.world(), [&] {
      if (window_length(run) > run.max_context())
        throw InputError("--context " + std::to_string(*settings_.context) +
                         " is more than the model's context of " + std::to_string(run.max_context()));
      if (!run.is_root()) return;
      if (settings_.per_token) check_writable(*settings_.per_token);
      const std::vector<std::int32_t> tokens = run.tokenizer().encode(read_file(*settings_.text));
      for (const std::int32_t id : tokens)
        if (id < 0 || id >= run.config().vocab_size)
          throw CheckpointError("the tokenizer gives id " + std::to_string(id) +
                                ", outside the model's vocabulary");
      if (tokens.empty()) throw InputError(*settings_.text + " holds no tokens");
      bytes.resize(tokens.size() * sizeof(std::int32_t));
      std::memcpy(bytes.data(), tokens.data(), bytes.size());
    });
    bytes = run.world().broadcast(std::move(bytes), 0);
    std::vector<std::int32_t> tokens(bytes.size() / sizeof(std::int32_t));
    std::memcpy(tokens.data(), bytes.data(), bytes.size());
    const ModelConfig& config = run.config();
    std::vector<Window> windows = cut_windows(
        tokens, window_length(run), config.add_bos && config.bos_token_id ? *config.bos_token_id : -1);
    agree(run.world(), [&] {
      if (windows.empty()) throw InputError(*settings_.text + " is too short: nothing to predict");
    });
    return windows;
  }

  /// Replica r scores windows r, r + replicas, ...; their leaders' scores meet on all ranks.
  std::vector<WindowScores> score(ModelRun& run, const std::vector<Window>& windows) {
    const auto replicas = static_cast<std::size_t>(run.grid().replicas);
    const auto own = static_cast<std::size_t>(run.replica_number());
    std::vector<Window> mine;
    for (std::size_t w = own; w < windows.size(); w += replicas) mine.push_back(windows[w]);
    Evaluator evaluator(run.engine(), run.options(), run.lookahead(), settings_.recurrent_after.value_or(0));
    double next_line = now_seconds() + 5;
    ReplicaReports reports(run.world(), run.grid(), {.stop_wanted = stop_signalled});
    const std::vector<WindowScores> scores = evaluator.score(mine, [&](std::size_t done) {
      if (reports.step()) run.engine().request_stop();
      if (!run.is_root() || now_seconds() < next_line) return;
      next_line = now_seconds() + 5;
      spdlog::info("{} of {} windows", done * replicas, windows.size());
    });
    if (!reports.finish(!evaluator.stopped()))
      throw AgreedError(ExitCode::interrupted, "stopped by a signal");
    return gather(run, windows, scores);
  }

  static std::vector<WindowScores> gather(ModelRun& run, const std::vector<Window>& windows,
                                          const std::vector<WindowScores>& mine) {
    Bytes bytes;
    if (run.leads_replica())
      for (const WindowScores& scores : mine) {
        const std::size_t at = bytes.size();
        bytes.resize(at + scores.size() * sizeof(float));
        std::memcpy(bytes.data() + at, scores.data(), scores.size() * sizeof(float));
      }
    const std::vector<Bytes> all = run.world().all_gather(bytes);
    const auto replicas = static_cast<std::size_t>(run.grid().replicas);
    std::vector<WindowScores> scores(windows.size());
    for (std::size_t replica = 0; replica < replicas; ++replica) {
      const Bytes& part = all[replica * static_cast<std::size_t>(run.grid().ranks_per_replica())];
      std::size_t at = 0;
      for (std::size_t w = replica; w < windows.size(); w += replicas) {
        scores[w].resize(windows[w].size() - 1);
        std::memcpy(scores[w].data(), part.data() + at, scores[w].size() * sizeof(float));
        at += scores[w].size() * sizeof(float);
      }
    }
    return scores;
  }

  nlohmann::json finish(const ModelRun& run, const std::vector<Window>& windows,
                        const std::vector<WindowScores>& scores, double seconds) const {
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
        count, windows.size(), window_length(run), nats, perplexity, static_cast<double>(count) / seconds);
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

  EvalSettings settings_;
};

}  // namespace

std::unique_ptr<Command> make_eval_command() {
  return std::make_unique<EvalCommand>();
}

}  // namespace stagformer::internal
