// A model's own way of writing a conversation: messages to one text, by the Jinja template in the checkpoint.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "text/jinja/template.hpp"
#include "text/tokenizer.hpp"

namespace stagformer::internal {

class ChatTemplate {
 public:
  /// `source`: the template; an empty bos_token or eos_token is undefined in it. Throws InputError for what
  /// is no template or is not supported.
  ChatTemplate(const std::string& source, std::string bos_token, std::string eos_token);

  /// The conversation and the beginning of the next answer. Bytes that come from messages are marked as
  /// foreign, all but the roles. Throws InputError where the template refuses the conversation.
  jinja::Text render(const nlohmann::ordered_json& messages) const;

  /// The same as token ids. BOS is there only where the template writes it.
  std::vector<std::int32_t> encode(const nlohmann::ordered_json& messages, const Tokenizer& tokenizer) const;

 private:
  jinja::Template template_;
  std::string bos_token_, eos_token_;
};

/// What is wrong with messages, in words that go behind "messages "; empty where nothing is. Each is an
/// object with a role (letters, digits, - and _) and a content: a text, a list of parts, or null.
std::string message_refusal(const nlohmann::ordered_json& messages);

}  // namespace stagformer::internal
