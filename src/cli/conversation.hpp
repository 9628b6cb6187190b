// What has been said in a chat, as messages and as the tokens that the caches hold.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
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
  /// How many of a prompt's first tokens need not be run again; at least one is left, to be read out.
  std::int64_t cached_of(std::span<const std::int32_t> prompt) const;
  /// The caches hold the prompt and the answer's tokens but for the last one, which nothing has read yet. A
  /// message without an answer is forgotten, its tokens in the caches are not.
  void add(const std::string& user, const std::string& answer, std::vector<std::int32_t> prompt,
           std::span<const std::int32_t> answer_ids);
  /// Nothing has been said.
  void reset();

 private:
  const ChatTemplate& chat_;
  const Tokenizer& tokenizer_;
  const std::optional<std::string> system_;
  nlohmann::ordered_json messages_;
  std::vector<std::int32_t> cached_;
};

}  // namespace stagformer::internal
