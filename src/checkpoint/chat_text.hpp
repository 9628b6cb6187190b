// What a checkpoint may say about conversations; docs/checkpoint-format.md.
#pragma once

#include <string>

namespace stagformer::internal {

struct ChatText {
  std::string chat_template;         ///< Jinja; empty: there is none
  std::string bos_token, eos_token;  ///< what the template prints for these; empty: as the tokenizer has them
};

}  // namespace stagformer::internal
