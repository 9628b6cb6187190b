#include "cli/prompts.hpp"

#include <set>
#include <sstream>

#include "cli/files.hpp"
#include "cli/json_text.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

/// Reads one line's fields; every problem names file and line.
class LineReader {
 public:
  LineReader(const std::string& path, std::int64_t number, const std::string& line)
      : place_(path + ", line " + std::to_string(number)) {
    object_ = parse_ordered_json(line);
    if (!object_.is_object()) fail("is not a JSON object");
  }

  [[noreturn]] void fail(const std::string& problem) const { throw InputError(place_ + ": " + problem); }

  Prompt read(std::int64_t number, const GenerationRequest& defaults) const {
    Prompt prompt;
    prompt.request = defaults;
    prompt.id = number;
    for (const auto& [key, value] : object_.items()) take(key, value, prompt);
    if (object_.contains("prompt") == object_.contains("messages"))
      fail(object_.contains("prompt") ? "has \"prompt\" and \"messages\""
                                      : "has neither \"prompt\" nor \"messages\"");
    try {
      check_sampling(prompt.request.sampling);
    } catch (const Error& error) {
      fail(error.what());
    }
    return prompt;
  }

 private:
  void take(const std::string& key, const ordered_json& value, Prompt& prompt) const {
    GenerationRequest& request = prompt.request;
    if (key == "id") {
      if (!value.is_string() && !value.is_number_integer()) fail("\"id\" is neither a string nor an integer");
      prompt.id = json(value);
    } else if (key == "prompt") {
      prompt.text = text(key, value);
    } else if (key == "messages") {
      const std::string refusal = message_refusal(value);
      if (!refusal.empty()) fail("\"messages\" " + refusal);
      prompt.messages = value;
    } else if (key == "max_tokens") {
      request.max_tokens = integer(key, value, 1);
    } else if (key == "temperature") {
      request.sampling.temperature = number(key, value);
    } else if (key == "top_k") {
      request.sampling.top_k = integer(key, value, 0);
    } else if (key == "top_p") {
      request.sampling.top_p = number(key, value);
    } else if (key == "min_p") {
      request.sampling.min_p = number(key, value);
    } else if (key == "repetition_penalty") {
      request.sampling.repetition_penalty = number(key, value);
    } else if (key == "presence_penalty") {
      request.sampling.presence_penalty = number(key, value);
    } else if (key == "frequency_penalty") {
      request.sampling.frequency_penalty = number(key, value);
    } else if (key == "seed") {
      request.sampling.seed = static_cast<std::uint64_t>(integer(key, value, 0));
    } else if (key == "stop") {
      take_stop(value, request);
    } else if (key == "ignore_eos") {
      if (!value.is_boolean()) fail("\"ignore_eos\" is not true or false");
      request.ignore_eos = value.get<bool>();
    } else {
      fail("unknown field \"" + key + "\"");
    }
  }
  void take_stop(const ordered_json& value, GenerationRequest& request) const {
    request.stop.clear();
    for (const ordered_json& entry : value.is_array() ? value : ordered_json::array({value})) {
      request.stop.push_back(text("stop", entry));
      if (request.stop.back().empty()) fail("\"stop\" is empty");
    }
  }
  std::string text(const std::string& key, const ordered_json& value) const {
    if (!value.is_string()) fail("\"" + key + "\" is not a string");
    return value.get<std::string>();
  }
  std::int64_t integer(const std::string& key, const ordered_json& value, std::int64_t least) const {
    if (!value.is_number_integer() || value.get<std::int64_t>() < least)
      fail("\"" + key + "\" is not an integer of at least " + std::to_string(least));
    return value.get<std::int64_t>();
  }
  float number(const std::string& key, const ordered_json& value) const {
    if (!value.is_number()) fail("\"" + key + "\" is not a number");
    return value.get<float>();
  }

  std::string place_;
  ordered_json object_;  // in the line's order, which templates may print
};

}  // namespace

std::vector<Prompt> read_prompts(const std::string& path, const GenerationRequest& defaults) {
  std::istringstream in(read_file(path));
  std::vector<Prompt> prompts;
  std::set<std::string> ids;
  std::string line;
  for (std::int64_t number = 1; std::getline(in, line); ++number) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    const LineReader reader(path, number, line);
    prompts.push_back(reader.read(number, defaults));
    if (!ids.insert(prompts.back().id.dump()).second)
      reader.fail("id " + prompts.back().id.dump() + " stands twice");
    prompts.back().request.index = static_cast<std::int64_t>(prompts.size()) - 1;
  }
  return prompts;
}

namespace {

/// BOS is the template's to write, where there is one.
std::vector<std::int32_t> ids_of(const Prompt& prompt, const Tokenizer& tokenizer, const ModelConfig& config,
                                 const ChatTemplate* chat) {
  if (prompt.messages) return chat->encode(*prompt.messages, tokenizer);
  std::vector<std::int32_t> ids = tokenizer.encode(prompt.text);
  if (config.add_bos && config.bos_token_id)
    ids.insert(ids.begin(), static_cast<std::int32_t>(*config.bos_token_id));
  return ids;
}

}  // namespace

void prepare_prompt(Prompt& prompt, const Tokenizer& tokenizer, const ModelConfig& config,
                    const ChatTemplate* chat) {
  GenerationRequest& request = prompt.request;
  try {
    request.prompt = ids_of(prompt, tokenizer, config, chat);
  } catch (const InputError& error) {
    if (!prompt.messages) throw;
    prompt.refusal = error.what();
    return;
  }
  for (const std::int32_t id : request.prompt)
    if (id < 0 || id >= config.vocab_size)
      throw CheckpointError("the tokenizer gives id " + std::to_string(id) +
                            " but the model's vocabulary has " + std::to_string(config.vocab_size) +
                            " entries");
  fit_to_context(prompt, config);
}

void fit_to_context(Prompt& prompt, const ModelConfig& config) {
  GenerationRequest& request = prompt.request;
  const auto length = static_cast<std::int64_t>(request.prompt.size());
  const std::int64_t room = config.max_position_embeddings - length;
  if (request.max_tokens < 0)
    request.max_tokens = std::min(-request.max_tokens, std::max<std::int64_t>(room, 1));
  if (length == 0)
    prompt.refusal = "the prompt has no tokens";
  else if (request.max_tokens > room)
    prompt.refusal = "a prompt of " + std::to_string(length) + " tokens and " +
                     std::to_string(request.max_tokens) + " to generate do not fit the context of " +
                     std::to_string(config.max_position_embeddings);
}

nlohmann::json to_json(const std::vector<Prompt>& prompts) {
  json all = json::array();
  for (const Prompt& p : prompts) {
    const GenerationRequest& r = p.request;
    all.push_back({{"id", p.id},
                   {"refusal", p.refusal},
                   {"index", r.index},
                   {"prompt", r.prompt},
                   {"temperature", r.sampling.temperature},
                   {"top_k", r.sampling.top_k},
                   {"top_p", r.sampling.top_p},
                   {"min_p", r.sampling.min_p},
                   {"seed", r.sampling.seed},
                   {"repetition_penalty", r.sampling.repetition_penalty},
                   {"presence_penalty", r.sampling.presence_penalty},
                   {"frequency_penalty", r.sampling.frequency_penalty},
                   {"max_tokens", r.max_tokens},
                   {"stop", r.stop},
                   {"ignore_eos", r.ignore_eos},
                   {"log_probabilities", r.log_probabilities},
                   {"top_log_probabilities", r.top_log_probabilities}});
  }
  return all;
}

std::vector<Prompt> prompts_from(const nlohmann::json& all) {
  std::vector<Prompt> prompts;
  for (const json& j : all) {
    Prompt p;
    p.id = j["id"];
    p.refusal = j["refusal"];
    GenerationRequest& r = p.request;
    r.index = j["index"];
    r.prompt = j["prompt"].get<std::vector<std::int32_t>>();
    r.sampling = {j["temperature"],
                  j["top_k"],
                  j["top_p"],
                  j["min_p"],
                  j["seed"],
                  j["repetition_penalty"],
                  j["presence_penalty"],
                  j["frequency_penalty"]};
    r.max_tokens = j["max_tokens"];
    r.stop = j["stop"].get<std::vector<std::string>>();
    r.ignore_eos = j["ignore_eos"];
    r.log_probabilities = j["log_probabilities"];
    r.top_log_probabilities = j["top_log_probabilities"];
    prompts.push_back(std::move(p));
  }
  return prompts;
}

}  // namespace stagformer::internal
