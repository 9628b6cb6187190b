// What has been said in a chat, as messages.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "text/chat_template.hpp"
#include "text/tokenizer.hpp"

namespace stagformer::internal {

class Conversation {
 public:
  Conversation(const ChatTemplate& chat, const Tokenizer& tokenizer, std::optional<std::string> system);

  /// The prompt of the next answer. Throws InputError where the template refuses the message.
  std::vector<std::int32_t> prompt_with(const std::string& user) const;
  /// A message without an answer is forgotten.
  void add(const std::string& user, const std::string& answer);
  /// Nothing has been said.
  void reset();

 private:
  const ChatTemplate& chat_;
  const Tokenizer& tokenizer_;
  const std::optional<std::string> system_;
  nlohmann::ordered_json messages_;
};

}  // namespace stagformer::internal
