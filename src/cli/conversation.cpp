#include "cli/conversation.hpp"

#include <algorithm>
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

std::int64_t Conversation::cached_of(std::span<const std::int32_t> prompt) const {
  const auto same = std::ranges::mismatch(prompt, cached_).in1 - prompt.begin();
  return std::min<std::int64_t>(same, static_cast<std::int64_t>(prompt.size()) - 1);
}

void Conversation::add(const std::string& user, const std::string& answer, std::vector<std::int32_t> prompt,
                       std::span<const std::int32_t> answer_ids) {
  cached_ = std::move(prompt);
  if (!answer_ids.empty()) cached_.insert(cached_.end(), answer_ids.begin(), answer_ids.end() - 1);
  if (answer.empty()) return;
  messages_.push_back({{"role", "user"}, {"content", user}});
  messages_.push_back({{"role", "assistant"}, {"content", answer}});
}

}  // namespace stagformer::internal
