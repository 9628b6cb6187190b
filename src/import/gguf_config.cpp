#include "import/gguf_config.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace stagformer::internal {
namespace {

/// Keys that say nothing about the computation, or are read elsewhere.
constexpr std::array kHarmless = {"vocab_size",
                                  "tensor_data_layout",
                                  "expert_used_count",
                                  "attention.key_length",
                                  "attention.value_length",
                                  "rope.dimension_count",
                                  "attention.sliding_window",
                                  "rope.scaling.finetuned",
                                  "rope.scaling.original_context_length"};

/// Keys that must have this value where they are there; anything else would be computed otherwise.
struct NeutralKey {
  const char* name;
  double neutral;
};
constexpr std::array<NeutralKey, 12> kNeutral = {{{"expert_count", 0},
                                                  {"logit_scale", 1},
                                                  {"residual_scale", 1},
                                                  {"embedding_scale", 1},
                                                  {"attention.scale", 0},
                                                  {"attention.clamp_kqv", 0},
                                                  {"attention.max_alibi_bias", 0},
                                                  {"attn_logit_softcapping", 0},
                                                  {"final_logit_softcapping", 0},
                                                  {"pooling_type", 0},
                                                  {"rope.scaling.attn_factor", 1},
                                                  {"rope.scaling.yarn_log_multiplier", 0}}};

/// Llama 3's rotary scaling, alike in all its models but for the factor.
constexpr double kLowFactor = 1, kHighFactor = 4, kOriginalContext = 8192;

class GgufConfig {
 public:
  GgufConfig(const GgufHeader& header, std::vector<std::string>& warnings)
      : h_(header), arch_(header.text("general.architecture")), warnings_(warnings) {}

  nlohmann::json read(const std::optional<std::vector<float>>& rope_factors) {
    read_widths();
    config_["max_position_embeddings"] = h_.integer(key("context_length"));
    config_["rms_norm_eps"] = h_.number(key("attention.layer_norm_rms_epsilon"));
    config_["rope_theta"] = h_.find_number(key("rope.freq_base")).value_or(10000);
    config_["rope_scaling"] = rope_scaling(rope_factors);
    refuse_other_computations();
    warn_of_unknown_keys();
    return std::move(config_);
  }

 private:
  /// The full key, noted as known: what is never asked for is listed in a warning.
  std::string key(const std::string& name) {
    asked_.push_back(arch_ + "." + name);
    return asked_.back();
  }

  /// Rotary positions must turn whole heads, and queries, keys and values be equally wide.
  void read_widths() {
    const std::int64_t heads = h_.integer(key("attention.head_count")),
                       width = h_.integer(key("embedding_length"));
    if (heads < 1) h_.refuse_key(key("attention.head_count"), "is " + std::to_string(heads));
    const std::int64_t head_dim = h_.find_integer(key("attention.key_length")).value_or(width / heads);
    config_["hidden_size"] = width;
    config_["num_attention_heads"] = heads;
    config_["head_dim"] = head_dim;
    config_["num_key_value_heads"] = h_.find_integer(key("attention.head_count_kv")).value_or(heads);
    config_["intermediate_size"] = h_.integer(key("feed_forward_length"));
    for (const char* same : {"attention.value_length", "rope.dimension_count"}) {
      const std::int64_t found = h_.find_integer(key(same)).value_or(head_dim);
      if (found != head_dim)
        h_.refuse_key(key(same), "is " + std::to_string(found) + ", only the width of a head (" +
                                     std::to_string(head_dim) + ") is supported");
    }
  }

  /// A factor without a type is a linear one; 0 stands for none, as llama.cpp reads it.
  nlohmann::json rope_scaling(const std::optional<std::vector<float>>& factors) {
    const double factor = h_.find_number(key("rope.scaling.factor"))
                              .value_or(h_.find_number(key("rope.scale_linear")).value_or(1));
    const std::string type = h_.find_text(key("rope.scaling.type")).value_or("linear");
    if (type != "none" && type != "linear")
      h_.refuse_key(key("rope.scaling.type"), "is '" + type + "', only 'linear' and 'none' are supported");
    const bool is_linear = type == "linear" && factor != 0 && factor != 1;
    if (!factors) return is_linear ? nlohmann::json{{"rope_type", "linear"}, {"factor", factor}} : nullptr;
    const nlohmann::json scaling = llama3_scaling_of(*factors, config_["rope_theta"]);
    if (scaling.is_null() || is_linear || 2 * factors->size() != config_["head_dim"])
      refuse_source(h_.file,
                    "tensor 'rope_freqs.weight' does not hold Llama 3's rotary scaling, and no other one is "
                    "supported");
    return scaling;
  }

  /// 0 means "not used" for scales as well.
  void refuse_other_computations() {
    for (const auto& [name, neutral] : kNeutral) {
      const double found = h_.find_number(key(name)).value_or(neutral);
      if (found != neutral && found != 0)
        h_.refuse_key(key(name), "is " + std::to_string(found) + ", which is not supported");
    }
    for (const char* name : {"attention.causal", "use_parallel_residual"}) {
      const bool wanted = std::string_view(name) == "attention.causal";
      if (h_.find_boolean(key(name)).value_or(wanted) != wanted)
        h_.refuse_key(key(name),
                      wanted ? "is false, which is not supported" : "is true, which is not supported");
    }
    const std::int64_t window = h_.find_integer(key("attention.sliding_window")).value_or(0);
    if (window != 0 && window < config_["max_position_embeddings"])
      h_.refuse_key(key("attention.sliding_window"),
                    "is " + std::to_string(window) + ": windows are not supported");
  }

  void warn_of_unknown_keys() {
    for (const char* name : kHarmless) key(name);
    key("block_count");
    std::vector<std::string> unknown;
    for (const auto& [name, value] : h_.metadata)
      if (name.starts_with(arch_ + ".") && std::ranges::find(asked_, name) == asked_.end())
        unknown.push_back(name);
    if (!unknown.empty()) warnings_.push_back(ignored_keys_warning(h_.file, unknown));
  }

  const GgufHeader& h_;
  std::string arch_;
  std::vector<std::string>& warnings_;
  std::vector<std::string> asked_;
  nlohmann::json config_;
};

}  // namespace

nlohmann::json llama3_scaling_of(std::span<const float> factors, double rope_theta) {
  const double factor = factors.empty() ? 1 : *std::ranges::max_element(factors);
  for (std::size_t j = 0; j < factors.size(); ++j) {
    // Frequency j as turns per position; between the two borders the factor goes over smoothly.
    const double turns = std::pow(rope_theta, -static_cast<double>(j) / static_cast<double>(factors.size())) /
                         (2 * std::numbers::pi);
    const double share =
        std::clamp((kOriginalContext * turns - kLowFactor) / (kHighFactor - kLowFactor), 0.0, 1.0);
    const double expected = 1 / ((1 - share) / factor + share);
    if (!(std::abs(factors[j] - expected) <= 1e-4 * expected)) return nullptr;
  }
  return {{"rope_type", "llama3"},
          {"factor", factor},
          {"low_freq_factor", kLowFactor},
          {"high_freq_factor", kHighFactor},
          {"original_max_position_embeddings", static_cast<std::int64_t>(kOriginalContext)}};
}

nlohmann::json gguf_config(const GgufHeader& header, const std::optional<std::vector<float>>& rope_factors,
                           std::vector<std::string>& warnings) {
  return GgufConfig(header, warnings).read(rope_factors);
}

}  // namespace stagformer::internal
