#include "import/huggingface_tokenizer_choice.hpp"

#include <filesystem>
#include <optional>

#include "import/huggingface_chat.hpp"
#include "import/json_file.hpp"
#include "stagformer/error.hpp"
#include "text/tokenizer.hpp"

namespace stagformer::internal {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::int64_t kLargestFile = 256 << 20;
constexpr int kDeepest = 32;

/// Why the engine cannot read it; empty where it can.
std::string refusal_of(const SourceTokenizer& tokenizer) {
  try {
    make_tokenizer(tokenizer.type, tokenizer.model);
    return {};
  } catch (const CheckpointError& error) {
    return error.what();
  }
}

/// The special token in front of every text that a TemplateProcessing step adds; nothing where there is none.
std::optional<std::int64_t> first_of_template(const json& step) {
  const auto single = step.find("single");
  if (single == step.end() || !single->is_array() || single->empty()) return std::nullopt;
  const json& first = single->front();
  const auto path = json::json_pointer("/SpecialToken/id");
  if (!first.is_object() || !first.contains(path) || !first[path].is_string()) return std::nullopt;
  const auto tokens = step.find("special_tokens");
  if (tokens == step.end() || !tokens->is_object()) return std::nullopt;
  const auto entry = tokens->find(first[path].get<std::string>());
  if (entry == tokens->end() || !entry->is_object()) return std::nullopt;
  const auto ids = entry->find("ids");
  const bool one =
      ids != entry->end() && ids->is_array() && ids->size() == 1 && ids->front().is_number_integer();
  return one ? std::optional(ids->front().get<std::int64_t>()) : std::nullopt;
}

std::optional<std::int64_t> leading_token(const json& tokenizer) {
  const auto post = tokenizer.find("post_processor");
  if (post == tokenizer.end() || !post->is_object()) return std::nullopt;
  if (const auto found = first_of_template(*post)) return found;
  const auto steps = post->find("processors");
  if (steps == post->end() || !steps->is_array()) return std::nullopt;
  for (const json& step : *steps)
    if (step.is_object())
      if (const auto found = first_of_template(step)) return found;
  return std::nullopt;
}

class TokenizerChoice {
 public:
  TokenizerChoice(const std::string& folder, json& config, std::vector<std::string>& warnings)
      : folder_(folder), config_(config), warnings_(warnings) {}

  SourceTokenizer choose() {
    const auto tokenizer = pick();
    if (!tokenizer) {
      warnings_.push_back(folder_ +
                          ": there is neither tokenizer.json nor tokenizer.model: the checkpoint can be "
                          "measured, but not be given text");
      config_["add_bos"] = false;
      return {};
    }
    decide_bos(*tokenizer);
    return *tokenizer;
  }

 private:
  std::string path_of(const char* name) const { return (fs::path(folder_) / name).string(); }
  SourceTokenizer read(const char* name, const char* type) const {
    return {type, read_small_file(path_of(name), kLargestFile), path_of(name)};
  }

  std::optional<SourceTokenizer> pick() {
    const bool has_model = is_present(path_of("tokenizer.model"));
    if (!is_present(path_of("tokenizer.json")))
      return has_model ? std::optional(read("tokenizer.model", "sentencepiece")) : std::nullopt;
    SourceTokenizer json_file = read("tokenizer.json", "huggingface");
    const std::string refusal = refusal_of(json_file);
    if (refusal.empty()) return json_file;
    if (!has_model) refuse_source(json_file.origin, refusal + " (--no-tokenizer imports the weights alone)");
    warnings_.push_back(json_file.origin + ": tokenizer.model is taken instead, since " + refusal);
    return read("tokenizer.model", "sentencepiece");
  }

  /// tokenizer_config.json says it, else the template that tokenizer.json puts around texts. Without either,
  /// a bare SentencePiece model is Llama's, which begins with BOS.
  void decide_bos(const SourceTokenizer& tokenizer) {
    const bool has_bos = config_.contains("bos_token_id");
    bool add = has_bos && tokenizer.type == "sentencepiece";
    if (tokenizer.type == "huggingface") {
      const auto leading = leading_token(parse_json_object(tokenizer.origin, tokenizer.model, kDeepest));
      add = leading.has_value();
      if (leading) config_["bos_token_id"] = *leading;
    }
    const std::string settings = path_of("tokenizer_config.json");
    if (is_present(settings)) {
      const json fields = parse_json_object(settings, read_small_file(settings, kLargestFile), kDeepest);
      add = JsonFields(settings, fields).find_boolean("add_bos_token").value_or(add);
    }
    config_["add_bos"] = add && config_.contains("bos_token_id");
  }

  std::string folder_;
  json& config_;
  std::vector<std::string>& warnings_;
};

}  // namespace

SourceTokenizer choose_huggingface_tokenizer(const std::string& folder, json& config,
                                             std::vector<std::string>& warnings) {
  SourceTokenizer tokenizer = TokenizerChoice(folder, config, warnings).choose();
  if (!tokenizer.type.empty()) tokenizer.chat = read_huggingface_chat(folder, warnings);
  return tokenizer;
}

}  // namespace stagformer::internal
