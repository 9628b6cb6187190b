#include "text/chat_template.hpp"

#include <algorithm>
#include <cctype>
#include <ctime>

#include "stagformer/error.hpp"
#include "text/utf8.hpp"

namespace stagformer::internal {
namespace {

using jinja::Arguments;
using jinja::Value;
using nlohmann::ordered_json;

/// Templates write roles between control tokens: no character of those may be in one.
bool is_role(const ordered_json& role) {
  if (!role.is_string() || role.get_ref<const std::string&>().empty()) return false;
  return std::ranges::all_of(role.get_ref<const std::string&>(), [](unsigned char c) {
    return c < 0x80 && (std::isalnum(c) || c == '-' || c == '_');
  });
}

Value value_of(const ordered_json& json);

/// All strings come from outside, keys included.
Value dict_of(const ordered_json& json) {
  jinja::Dict dict;
  for (const auto& [key, value] : json.items()) dict.set(jinja::Text(valid_utf8(key), true), value_of(value));
  return Value::dict(std::move(dict));
}

Value value_of(const ordered_json& json) {
  if (json.is_object()) return dict_of(json);
  if (json.is_string()) return jinja::Text(valid_utf8(json.get<std::string>()), true);
  if (json.is_boolean()) return Value(json.get<bool>());
  if (json.is_number_integer()) return Value(json.get<std::int64_t>());
  if (json.is_number()) return Value(json.get<double>());
  if (json.is_null()) return Value(jinja::None{});
  std::vector<Value> items;
  for (const ordered_json& item : json) items.push_back(value_of(item));
  return Value::list(std::move(items));
}

/// Templates build control tokens of roles, which is_role() has found harmless.
Value message_of(const ordered_json& message) {
  jinja::Dict dict = *dict_of(message).dict();
  dict.set("role", Value(jinja::Text(message["role"].get<std::string>())));
  return Value::dict(std::move(dict));
}

Value messages_of(const ordered_json& messages) {
  try {
    std::vector<Value> values;
    for (const ordered_json& message : messages) values.push_back(message_of(message));
    return Value::list(std::move(values));
  } catch (const jinja::Problem& problem) {
    throw InputError(std::string("messages: ") + problem.what());
  }
}

Value raise_exception(const Arguments& arguments) {
  jinja::fail(arguments.positional.empty() ? "the template refuses the conversation"
                                           : quotable(jinja::to_text(arguments.positional[0]).bytes()));
}

/// As transformers' function of that name: the local time.
Value time_now(const Arguments& arguments) {
  const Value* format = arguments.find(0, "format");
  if (!format || !format->text()) jinja::fail("strftime_now() needs a format");
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char text[256];
  const std::size_t bytes = std::strftime(text, sizeof text, format->text()->bytes().c_str(), &local);
  return jinja::Text(std::string(text, bytes));
}

}  // namespace

std::string message_refusal(const ordered_json& messages) {
  if (!messages.is_array() || messages.empty()) return "is not a list of messages";
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const std::string which = "has a message (number " + std::to_string(i + 1) + ") ";
    const ordered_json& message = messages[i];
    if (!message.is_object()) return which + "that is not an object";
    if (!message.contains("role") || !is_role(message["role"]))
      return which + "without a role of letters, digits, - and _";
    const ordered_json content = message.value("content", ordered_json());
    if (!content.is_string() && !content.is_null() && !content.is_array())
      return which + "whose content is neither a string, a list nor null";
  }
  return {};
}

ChatTemplate::ChatTemplate(const std::string& source, std::string bos_token, std::string eos_token)
    : template_(valid_utf8(source)), bos_token_(std::move(bos_token)), eos_token_(std::move(eos_token)) {}

jinja::Text ChatTemplate::render(const ordered_json& messages) const {
  jinja::Variables variables = {{"messages", messages_of(messages)},
                                {"tools", Value(jinja::None{})},
                                {"documents", Value(jinja::None{})},
                                {"add_generation_prompt", Value(true)},
                                {"raise_exception", Value::function("raise_exception", raise_exception)},
                                {"strftime_now", Value::function("strftime_now", time_now)}};
  if (!bos_token_.empty()) variables.emplace_back("bos_token", Value(jinja::Text(bos_token_)));
  if (!eos_token_.empty()) variables.emplace_back("eos_token", Value(jinja::Text(eos_token_)));
  return template_.render(variables);
}

std::vector<std::int32_t> ChatTemplate::encode(const ordered_json& messages,
                                               const Tokenizer& tokenizer) const {
  const jinja::Text text = render(messages);
  return tokenizer.encode_chat(text.bytes(), text.foreign());
}

}  // namespace stagformer::internal
