// config.json of a Hugging Face model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

namespace stagformer::internal {

struct HuggingFaceConfig {
  std::string architecture;  ///< "LlamaForCausalLM"
  nlohmann::json config;     ///< keys of checkpoint-format.md, all but `sections` and `add_bos`
  std::int64_t layers = 0;
};

/// `file` names the text in messages. Refuses by name other architectures and whatever would be computed
/// otherwise; keys that are not known become warnings.
HuggingFaceConfig parse_huggingface_config(const std::string& file, std::span<const std::byte> text,
                                           std::vector<std::string>& warnings);

/// Adds the ends that generation_config.json names to those of the configuration.
void add_ends_of_generation(const std::string& file, std::span<const std::byte> text, nlohmann::json& config);

}  // namespace stagformer::internal
