#include "import/huggingface_config.hpp"

#include <algorithm>
#include <array>

#include "import/json_file.hpp"
#include "import/source_file.hpp"

namespace stagformer::internal {
namespace {

using nlohmann::json;

constexpr int kDeepest = 16;
constexpr std::int64_t kMostLayers = 1 << 16;
constexpr std::int64_t kQwen3HeadDim = 128;    // likewise of Qwen3's
constexpr std::int64_t kMistralWindow = 4096;  // what Mistral's configuration means where it says nothing

/// Keys that say nothing about the computation, or only about training and other programs.
constexpr std::array kHarmless = {"architectures",
                                  "model_type",
                                  "torch_dtype",
                                  "dtype",
                                  "transformers_version",
                                  "_name_or_path",
                                  "name_or_path",
                                  "use_cache",
                                  "initializer_range",
                                  "attention_dropout",
                                  "attention_probs_dropout_prob",
                                  "hidden_dropout_prob",
                                  "pretraining_tp",
                                  "pad_token_id",
                                  "unk_token_id",
                                  "sep_token_id",
                                  "max_window_layers",
                                  "is_llama_config",
                                  "transformers.js_config",
                                  "return_dict",
                                  "output_attentions",
                                  "output_hidden_states",
                                  "id2label",
                                  "label2id",
                                  "problem_type",
                                  "chunk_size_feed_forward",
                                  "is_decoder",
                                  "attn_implementation",
                                  "_attn_implementation",
                                  "_attn_implementation_autoset",
                                  "task_specific_params",
                                  "tokenizer_class",
                                  "finetuning_task",
                                  "unsloth_version",
                                  "unsloth_fixed",
                                  "rope_interleaved"};

/// Keys that must be missing, null or have this value.
const std::vector<std::pair<const char*, json>>& neutral_values() {
  static const std::vector<std::pair<const char*, json>> all = {{"mlp_bias", false},
                                                                {"partial_rotary_factor", 1},
                                                                {"use_qk_norm", false},
                                                                {"qk_norm", false},
                                                                {"use_mrope", false},
                                                                {"rope_interleaved", false},
                                                                {"add_cross_attention", false},
                                                                {"is_encoder_decoder", false},
                                                                {"tie_encoder_decoder", false},
                                                                {"attn_logit_softcapping", nullptr},
                                                                {"final_logit_softcapping", nullptr},
                                                                {"attention_multiplier", nullptr},
                                                                {"embedding_multiplier", 1},
                                                                {"residual_multiplier", 1},
                                                                {"logits_scaling", 1},
                                                                {"no_rope_layers", nullptr},
                                                                {"num_local_experts", nullptr},
                                                                {"num_experts", nullptr},
                                                                {"quantization_config", nullptr},
                                                                {"compression_config", nullptr}};
  return all;
}

enum class Family { llama, mistral, qwen2, qwen3 };

class ConfigReader {
 public:
  ConfigReader(const std::string& file, const json& source, std::vector<std::string>& warnings)
      : file_(file), source_(source), fields_(file, source), warnings_(warnings) {}

  HuggingFaceConfig read() {
    find_family();
    copy_widths();
    copy_numbers();
    read_rope();
    refuse_windows();
    for (const auto& [key, neutral] : neutral_values()) {
      asked_.push_back(key);
      const json* found = fields_.find(key);
      if (found && *found != neutral) fields_.refuse(key, "is " + found->dump() + ", which is not supported");
    }
    warn_of_unknown_keys();
    return std::move(out_);
  }

 private:
  /// The key, noted as known: what is never asked for is listed in a warning. Valid until the next call.
  const std::string& key(const std::string& name) {
    asked_.push_back(name);
    return asked_.back();
  }

  /// The architecture decides what missing keys mean; `model_type` stands in where it is not named.
  void find_family() {
    const json* list = fields_.find("architectures");
    const std::string type = fields_.find_text("model_type").value_or("");
    if (list && list->is_array() && list->size() == 1 && list->front().is_string())
      out_.architecture = list->front().get<std::string>();
    else if (list)
      fields_.refuse("architectures", "does not name one architecture");
    else
      out_.architecture = type == "llama"     ? "LlamaForCausalLM"
                          : type == "mistral" ? "MistralForCausalLM"
                          : type == "qwen2"   ? "Qwen2ForCausalLM"
                          : type == "qwen3"   ? "Qwen3ForCausalLM"
                                              : type;
    if (out_.architecture == "LlamaForCausalLM")
      family_ = Family::llama;
    else if (out_.architecture == "MistralForCausalLM")
      family_ = Family::mistral;
    else if (out_.architecture == "Qwen2ForCausalLM")
      family_ = Family::qwen2;
    else if (out_.architecture == "Qwen3ForCausalLM")
      family_ = Family::qwen3;
    else
      refuse_source(file_, "architecture " + out_.architecture +
                               " is not supported: only LlamaForCausalLM, MistralForCausalLM, "
                               "Qwen2ForCausalLM and Qwen3ForCausalLM are");
  }

  void copy_widths() {
    json& c = out_.config;
    for (const char* same :
         {"vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "max_position_embeddings"})
      c[same] = fields_.integer(key(same));
    out_.layers = fields_.integer(key("num_hidden_layers"));
    if (out_.layers < 1 || out_.layers > kMostLayers)
      fields_.refuse("num_hidden_layers", "is " + std::to_string(out_.layers));
    const auto groups = fields_.find_integer(key("num_key_value_heads"));
    if (!groups && family_ != Family::llama) fields_.refuse("num_key_value_heads", "is missing");
    c["num_key_value_heads"] = groups.value_or(c["num_attention_heads"].get<std::int64_t>());
    if (const auto head_dim = fields_.find_integer(key("head_dim")))
      c["head_dim"] = *head_dim;
    else if (family_ == Family::qwen3)
      c["head_dim"] = kQwen3HeadDim;
  }

  /// Missing keys have the values that transformers gives them, not those of our own format.
  void copy_numbers() {
    json& c = out_.config;
    c["rms_norm_eps"] = fields_.find_number(key("rms_norm_eps")).value_or(1e-6);
    c["tie_word_embeddings"] = fields_.find_boolean(key("tie_word_embeddings")).value_or(false);
    const bool biases = fields_.find_boolean(key("attention_bias")).value_or(false);
    if (biases && family_ == Family::mistral)
      fields_.refuse("attention_bias", "is true, which Mistral does not have");
    c["attention_bias"] = biases || family_ == Family::qwen2;
    c["qk_norm"] = family_ == Family::qwen3;
    const std::string activation = fields_.find_text(key("hidden_act")).value_or("silu");
    if (activation == "gelu_pytorch_tanh")
      c["hidden_act"] = "gelu_tanh";
    else if (activation != "silu")
      fields_.refuse("hidden_act",
                     "is '" + activation + "', only 'silu' and 'gelu_pytorch_tanh' are supported");
    for (const char* token : {"bos_token_id", "eos_token_id"})
      if (const json* id = fields_.find(key(token))) c[token] = *id;
  }

  /// Newer files have rope_parameters, which hold theta and scaling together; older ones two keys.
  void read_rope() {
    const json* newer = fields_.find(key("rope_parameters"));
    const json* scaling = newer ? newer : fields_.find(key("rope_scaling"));
    key("rope_scaling");
    auto theta = fields_.find_number(key("rope_theta"));
    if (scaling) {
      const JsonFields rope(file_, *scaling, newer ? "rope_parameters." : "rope_scaling.");
      if (const auto inner = rope.find_number("rope_theta")) theta = inner;
      if (const auto part = rope.find_number("partial_rotary_factor"); part && *part != 1)
        rope.refuse("partial_rotary_factor", "is " + std::to_string(*part) + ", which is not supported");
      out_.config["rope_scaling"] = scaling_of(rope);
    }
    out_.config["rope_theta"] = theta.value_or(10000);
  }

  static json scaling_of(const JsonFields& rope) {
    const std::string type = rope.find_text("rope_type").value_or(rope.find_text("type").value_or("default"));
    if (type == "default") return nullptr;
    json scaling = {{"rope_type", type}};
    if (type != "linear" && type != "llama3")
      rope.refuse("rope_type", "is '" + type + "', only 'default', 'linear' and 'llama3' are supported");
    scaling["factor"] = rope.number("factor");
    if (type == "linear") return scaling;
    for (const char* number : {"low_freq_factor", "high_freq_factor"}) scaling[number] = rope.number(number);
    scaling["original_max_position_embeddings"] = rope.integer("original_max_position_embeddings");
    return scaling;
  }

  /// A window as long as the context changes nothing.
  void refuse_windows() {
    const bool used = fields_.find_boolean(key("use_sliding_window"))
                          .value_or(family_ != Family::qwen2 && family_ != Family::qwen3);
    const bool silent = !source_.contains("sliding_window") && family_ == Family::mistral;
    const auto window = silent ? kMistralWindow : fields_.find_integer(key("sliding_window")).value_or(0);
    key("sliding_window");
    if (used && window > 0 && window < out_.config["max_position_embeddings"])
      fields_.refuse("sliding_window", (silent ? "is missing, which means " : "is ") +
                                           std::to_string(window) + ": sliding windows are not supported");
    const json* types = fields_.find(key("layer_types"));
    if (!types) return;
    for (const json& type : *types)
      if (type != "full_attention")
        fields_.refuse("layer_types", "has " + type.dump() + ", which is not supported");
  }

  void warn_of_unknown_keys() {
    std::vector<std::string> unknown;
    for (const auto& [name, value] : source_.items())
      if (std::ranges::find(asked_, name) == asked_.end() &&
          std::ranges::find(kHarmless, name) == kHarmless.end())
        unknown.push_back(name);
    if (!unknown.empty()) warnings_.push_back(ignored_keys_warning(file_, unknown));
  }

  const std::string& file_;
  const json& source_;
  JsonFields fields_;
  std::vector<std::string>& warnings_;
  Family family_ = Family::llama;
  std::vector<std::string> asked_;
  HuggingFaceConfig out_;
};

}  // namespace

HuggingFaceConfig parse_huggingface_config(const std::string& file, std::span<const std::byte> text,
                                           std::vector<std::string>& warnings) {
  const json source = parse_json_object(file, text, kDeepest);
  return ConfigReader(file, source, warnings).read();
}

void add_ends_of_generation(const std::string& file, std::span<const std::byte> text, json& config) {
  const json source = parse_json_object(file, text, kDeepest);
  const JsonFields fields(file, source);
  const json* more = fields.find("eos_token_id");
  if (!more) return;
  json& ends = config["eos_token_id"];
  if (ends.is_null()) ends = json::array();
  if (!ends.is_array()) ends = json::array({ends});
  for (const json& id : more->is_array() ? *more : json::array({*more}))
    if (std::ranges::find(ends, id) == ends.end()) ends.push_back(id);
}

}  // namespace stagformer::internal
