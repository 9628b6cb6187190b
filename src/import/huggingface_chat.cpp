#include "import/huggingface_chat.hpp"

#include <filesystem>
#include <string_view>

#include "import/json_file.hpp"
#include "import/source.hpp"
#include "import/source_file.hpp"

namespace stagformer::internal {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::int64_t kLargestFile = 64 << 20;
constexpr int kDeepest = 32;

/// A special token is written as its text, or as an object that holds it.
std::string token_text(const json& settings, const char* name) {
  const auto found = settings.find(name);
  if (found == settings.end()) return {};
  if (found->is_string()) return found->get<std::string>();
  const auto content = found->is_object() ? found->find("content") : found->end();
  return found->is_object() && content != found->end() && content->is_string() ? content->get<std::string>()
                                                                               : std::string();
}

/// One template, or a list of them with names, of which `default` is the one for conversations.
std::string template_text(const std::string& file, const json& settings, std::vector<std::string>& warnings) {
  const auto found = settings.find("chat_template");
  if (found == settings.end() || found->is_null()) return {};
  if (found->is_string()) return found->get<std::string>();
  if (found->is_array())
    for (const json& entry : *found)
      if (entry.is_object() && entry.value("name", json()) == "default" && entry.contains("template") &&
          entry["template"].is_string())
        return entry["template"].get<std::string>();
  warnings.push_back(file + ": chat_template has no template named 'default' and is left out");
  return {};
}

}  // namespace

ChatText read_huggingface_chat(const std::string& folder, std::vector<std::string>& warnings) {
  const auto path_of = [&](const char* name) { return (fs::path(folder) / name).string(); };
  const std::string settings_file = path_of("tokenizer_config.json");
  const std::string template_file = path_of("chat_template.jinja");
  json settings = json::object();
  if (is_present(settings_file))
    settings = parse_json_object(settings_file, read_small_file(settings_file, kLargestFile), kDeepest);
  ChatText chat;
  if (is_present(template_file)) {
    const std::vector<std::byte> bytes = read_small_file(template_file, kLargestFile);
    chat.chat_template.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  } else {
    chat.chat_template = template_text(settings_file, settings, warnings);
  }
  if (chat.chat_template.empty()) return {};
  chat.bos_token = token_text(settings, "bos_token");
  chat.eos_token = token_text(settings, "eos_token");
  return chat;
}

}  // namespace stagformer::internal
