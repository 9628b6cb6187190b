#include "cli/chat_settings.hpp"

#include "stagformer/error.hpp"

namespace stagformer::internal {

void ChatSettings::visit(SettingsVisitor& v) {
  v.text("system", system, "The system's message in front of the conversation");
  v.text("chat-template", chat_template, "Jinja file in place of the checkpoint's chat template");
  v.integer("max-tokens", max_tokens, 1, kAnyInteger,
            "Tokens of an answer (default: what the context has room for)");
  v.integer("context", context, 2, kAnyInteger,
            "Tokens of the whole conversation (default: the model's context)");
  v.list("stop", stop, "End an answer before this text (repeatable)");
  sampling.visit(v);
  run.visit(v);
}

void ChatSettings::check() const {
  for (const std::string& text : stop)
    if (text.empty()) throw UsageError("--stop must not be empty");
  check_sampling(sampling.params());
  run.check();
}

}  // namespace stagformer::internal
