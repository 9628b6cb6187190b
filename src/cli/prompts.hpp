// What `generate` is asked for: one prompt from the flags, or many from a JSONL file.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/generation.hpp"
#include "stagformer/config.hpp"
#include "text/chat_template.hpp"
#include "text/tokenizer.hpp"

namespace stagformer::internal {

/// One line of the input: its id as given (a string or an integer) and what to generate.
struct Prompt {
  nlohmann::json id;
  std::string text;
  std::optional<nlohmann::ordered_json> messages;  ///< a conversation in place of the text
  GenerationRequest request;
  std::string refusal;  ///< why this one cannot be run; it then gets a result with finish_reason error
};

/// Reads the whole file before anything runs. Each line: {"id", "prompt" or "messages", sampling fields};
/// fields that a line leaves out come from `defaults`. Throws InputError naming file and line.
std::vector<Prompt> read_prompts(const std::string& path, const GenerationRequest& defaults);

/// Tokenizes, adds BOS, and checks lengths against the context; what does not fit is refused (see
/// Prompt::refusal). max_tokens below 0: as many as fit, at most -max_tokens. `chat` writes messages out; it
/// may be null where there are none.
void prepare_prompt(Prompt& prompt, const Tokenizer& tokenizer, const ModelConfig& config,
                    const ChatTemplate* chat);
/// The last part of it, once request.prompt is there.
void fit_to_context(Prompt& prompt, const ModelConfig& config);

/// For handing prepared prompts to all ranks.
nlohmann::json to_json(const std::vector<Prompt>& prompts);
std::vector<Prompt> prompts_from(const nlohmann::json& json);

}  // namespace stagformer::internal
