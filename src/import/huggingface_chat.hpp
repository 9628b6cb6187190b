// The chat template of a Hugging Face folder.
#pragma once

#include <string>
#include <vector>

#include "checkpoint/chat_text.hpp"

namespace stagformer::internal {

/// From chat_template.jinja, else tokenizer_config.json; the texts of BOS and EOS from the latter. Nothing
/// where there is no template.
ChatText read_huggingface_chat(const std::string& folder, std::vector<std::string>& warnings);

}  // namespace stagformer::internal
