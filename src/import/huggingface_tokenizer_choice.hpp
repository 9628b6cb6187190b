// Which tokenizer of a Hugging Face folder goes into the checkpoint, and whether its texts begin with BOS.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "import/source.hpp"

namespace stagformer::internal {

/// tokenizer.json where the engine can read it, else tokenizer.model. Sets `add_bos` (and `bos_token_id`
/// where the tokenizer names another one) in the configuration.
SourceTokenizer choose_huggingface_tokenizer(const std::string& folder, nlohmann::json& config,
                                             std::vector<std::string>& warnings);

}  // namespace stagformer::internal
