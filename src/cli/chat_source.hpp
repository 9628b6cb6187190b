// The chat template of a run: the checkpoint's, or that of a file.
#pragma once

#include <optional>
#include <string>

#include "checkpoint/index.hpp"
#include "text/chat_template.hpp"
#include "text/tokenizer.hpp"

namespace stagformer::internal {

/// `file`: a template that takes the place of the checkpoint's. CheckpointError where there is none at all,
/// InputError where it cannot be used.
ChatTemplate make_chat_template(const CheckpointIndex& index, const Tokenizer& tokenizer,
                                const std::optional<std::string>& file);

/// A user's message, behind the system's if there is one.
nlohmann::ordered_json first_messages(const std::optional<std::string>& system, const std::string& user);

}  // namespace stagformer::internal
