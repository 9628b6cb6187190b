#include "cli/chat_source.hpp"

#include "cli/files.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {

ChatTemplate make_chat_template(const CheckpointIndex& index, const Tokenizer& tokenizer,
                                const std::optional<std::string>& file) {
  const std::string source = file ? read_file(*file) : index.chat.chat_template;
  if (source.empty())
    throw CheckpointError((file ? *file + ": is empty" : index.path + ": holds no chat template") +
                          " (--chat-template FILE gives another one)");
  const ModelConfig& config = index.config;
  std::string bos = index.chat.bos_token, eos = index.chat.eos_token;
  if (bos.empty() && config.bos_token_id)
    bos = tokenizer.token_name(static_cast<std::int32_t>(*config.bos_token_id));
  if (eos.empty() && !config.eos_token_ids.empty())
    eos = tokenizer.token_name(static_cast<std::int32_t>(config.eos_token_ids.front()));
  return ChatTemplate(source, bos, eos);
}

nlohmann::ordered_json first_messages(const std::optional<std::string>& system, const std::string& user) {
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  if (system) messages.push_back({{"role", "system"}, {"content", *system}});
  messages.push_back({{"role", "user"}, {"content", user}});
  return messages;
}

}  // namespace stagformer::internal
