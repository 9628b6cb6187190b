#include "cli/conversation.hpp"

#include <utility>

namespace stagformer::internal {

using nlohmann::ordered_json;

Conversation::Conversation(const ChatTemplate& chat, const Tokenizer& tokenizer,
                           std::optional<std::string> system)
    : chat_(chat), tokenizer_(tokenizer), system_(std::move(system)) {
  reset();
}

void Conversation::reset() {
  messages_ = ordered_json::array();
  if (system_) messages_.push_back({{"role", "system"}, {"content", *system_}});
}

std::vector<std::int32_t> Conversation::prompt_with(const std::string& user) const {
  ordered_json messages = messages_;
  messages.push_back({{"role", "user"}, {"content", user}});
  return chat_.encode(messages, tokenizer_);
}

void Conversation::add(const std::string& user, const std::string& answer) {
  if (answer.empty()) return;
  messages_.push_back({{"role", "user"}, {"content", user}});
  messages_.push_back({{"role", "assistant"}, {"content", answer}});
}

}  // namespace stagformer::internal
