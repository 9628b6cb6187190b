// stagformer chat: a conversation on the terminal. Rank 0 talks with the user; the others sleep between turns
// and are told what is to be answered.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "cli/chat_console.hpp"
#include "cli/chat_settings.hpp"
#include "cli/chat_source.hpp"
#include "cli/command.hpp"
#include "cli/conversation.hpp"
#include "cli/files.hpp"
#include "cli/model_run.hpp"
#include "comm/launcher.hpp"
#include "pipeline/agreement.hpp"
#include "pipeline/generation.hpp"
#include "pipeline/tags.hpp"

namespace stagformer::internal {
namespace {

using nlohmann::json;

constexpr double kNap = 0.005;  // seconds between two looks for the next turn

/// What rank 0 tells the others: run this, or end.
struct Turn {
  enum class Kind : std::int32_t { answer, quit, interrupted };
  Kind kind = Kind::answer;
  std::int32_t stops_posted = 0;  ///< by rank 0 so far (Engine::forget_stop)
  std::int64_t number = 0;
  std::int64_t max_tokens = 0;
};

Bytes packed(const Turn& turn, const std::vector<std::int32_t>& prompt) {
  Bytes bytes(sizeof turn + prompt.size() * sizeof(std::int32_t));
  std::memcpy(bytes.data(), &turn, sizeof turn);
  std::ranges::copy(std::as_bytes(std::span(prompt)),
                    bytes.begin() + static_cast<std::ptrdiff_t>(sizeof turn));
  return bytes;
}

class ChatCommand final : public Command {
 public:
  const char* name() const override { return "chat"; }
  const char* summary() const override { return "Talk with a model on the terminal"; }
  void visit(SettingsVisitor& visitor) override { settings_.visit(visitor); }
  void check() const override { settings_.check(); }
  bool runs_a_model() const override { return true; }

  ExitCode run(const MpiSession* session, const std::string& command_line) override {
    ModelRun run(
        *session, settings_.run, [this](SettingsVisitor& v) { settings_.visit(v); }, command_line);
    run_ = &run;
    run.open();
    prepare();
    EngineOptions options = settings_.run.engine_options();
    options.slots = 1;
    options.context = context();
    run.load(options, false);
    generator_.emplace(run.engine(), run.replica(), run.config(), run.tokenizer(), run.options(),
                       run.is_root() ? events() : Generator::Events{});
    const double begin = now_seconds();
    const Turn::Kind end = run.is_root() ? talk() : follow();
    run.report(now_seconds() - begin, {{"turns", turns_}});
    if (end == Turn::Kind::quit) return ExitCode::success;
    throw AgreedError(ExitCode::interrupted, "stopped by a signal");
  }

 private:
  std::int64_t context() const { return settings_.context.value_or(run_->max_context()); }

  void prepare() {
    agree(run_->world(), [&] {
      if (run_->grid().replicas > 1)
        throw ConfigError("chat needs one replica, " + std::to_string(run_->world().size()) + " ranks make " +
                          std::to_string(run_->grid().replicas));
      if (context() > run_->max_context())
        throw InputError("--context " + std::to_string(context()) + " is more than the model's context of " +
                         std::to_string(run_->max_context()));
      if (!run_->is_root()) return;
      chat_.emplace(make_chat_template(run_->index(), run_->tokenizer(), settings_.chat_template));
      conversation_.emplace(*chat_, run_->tokenizer(), settings_.system);
    });
  }

  /// Rank 0, to the end of the conversation.
  Turn::Kind talk() {
    ChatConsole console(detect_launcher() || isatty(STDIN_FILENO));
    console_ = &console;
    spdlog::info("/reset begins anew, /stop ends an answer, /quit or Ctrl-D ends");
    while (const auto line = console_->next_line()) {
      if (*line == "/quit") break;
      if (*line == "/reset")
        conversation_->reset();
      else if (line->starts_with('/') && *line != "/stop")
        spdlog::warn("unknown command {}: /reset, /stop and /quit are known", *line);
      else if (*line != "/stop" && line->find_first_not_of(" \t") != std::string::npos)
        answer(*line);
    }
    Turn turn;
    turn.kind = end_signalled() ? Turn::Kind::interrupted : Turn::Kind::quit;
    tell(turn, {});
    run_->world().flush_posts();
    return turn.kind;
  }

  /// The other ranks. They poll and sleep instead of waiting in a receive: no stall timeout runs, and their
  /// cores are free.
  Turn::Kind follow() {
    Transport& world = run_->world();
    for (;;) {
      const auto message = world.poll(tag(Tag::turn));
      if (!message) {
        world.sleep(kNap);
        continue;
      }
      const Bytes& bytes = message->second;
      Turn turn;
      std::memcpy(&turn, bytes.data(), sizeof turn);
      if (turn.kind != Turn::Kind::answer) return turn.kind;
      std::vector<std::int32_t> prompt((bytes.size() - sizeof turn) / sizeof(std::int32_t));
      std::memcpy(prompt.data(), bytes.data() + sizeof turn, prompt.size() * sizeof(std::int32_t));
      generate(turn, prompt);
    }
  }

  void tell(const Turn& turn, const std::vector<std::int32_t>& prompt) {
    for (int rank = 1; rank < run_->world().size(); ++rank)
      run_->world().post(packed(turn, prompt), rank, tag(Tag::turn));
  }

  void answer(const std::string& user) {
    std::vector<std::int32_t> prompt;
    try {
      prompt = conversation_->prompt_with(user);
    } catch (const InputError& error) {
      return spdlog::error("{}", error.what());
    }
    const std::int64_t room = context() - static_cast<std::int64_t>(prompt.size());
    if (prompt.empty() || room < 1)
      return spdlog::error("{} tokens do not fit the context of {}: /reset begins anew", prompt.size(),
                           context());
    Turn turn;
    turn.stops_posted = run_->engine().stops_posted();
    turn.number = static_cast<std::int64_t>(turns_.size());
    turn.max_tokens = std::min(settings_.max_tokens.value_or(room), room);
    tell(turn, prompt);
    console_->begin_answer();
    answer_ = {};
    const std::int64_t shared = generator_->times().shared_prompt_tokens;
    generate(turn, prompt);
    write_stdout("\n");
    conversation_->add(user, answer_.text);
    turns_.push_back({{"prompt_tokens", prompt.size()},
                      {"cached_tokens", generator_->times().shared_prompt_tokens - shared},
                      {"token_ids", answer_.ids},
                      {"text", answer_.text},
                      {"finish_reason", answer_.reason}});
  }

  /// Rank 0 writes an answer as it comes.
  Generator::Events events() {
    Generator::Events events;
    events.on_text = [this](const GenerationRequest&, const std::string& more,
                            std::span<const std::int32_t> more_ids) {
      answer_.text += more;
      answer_.ids.insert(answer_.ids.end(), more_ids.begin(), more_ids.end());
      write_stdout(more);
    };
    events.on_result = [this](GenerationResult&& result) {
      answer_.reason = result.finish_reason;
      if (!result.error.empty()) spdlog::error("{}", result.error);
    };
    events.should_stop = [this] { return console_->stop_wanted(); };
    return events;
  }

  /// Collective. The generator is one for the whole conversation: it knows what the caches hold.
  void generate(const Turn& turn, const std::vector<std::int32_t>& prompt) {
    run_->engine().forget_stop(turn.stops_posted);
    GenerationRequest request;
    request.index = turn.number;
    request.prompt = prompt;
    request.sampling = settings_.sampling.params();
    request.max_tokens = turn.max_tokens;
    request.stop = settings_.stop;
    generator_->run({request});
  }

  /// An answer so far.
  struct Answer {
    std::string text, reason = "stopped";
    std::vector<std::int32_t> ids;
  };

  ChatSettings settings_;
  ModelRun* run_ = nullptr;
  std::optional<ChatTemplate> chat_;
  std::optional<Conversation> conversation_;
  ChatConsole* console_ = nullptr;  // while talking
  std::optional<Generator> generator_;
  Answer answer_;
  json turns_ = json::array();
};

}  // namespace

std::unique_ptr<Command> make_chat_command() {
  return std::make_unique<ChatCommand>();
}

}  // namespace stagformer::internal
