// The configuration in a GGUF file's metadata.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "import/gguf_header.hpp"

namespace stagformer::internal {

/// Keys of checkpoint-format.md, all but vocabulary, tokens, ties, biases and sections. Refuses by name
/// whatever would be computed otherwise; keys that are not known become warnings. `rope_factors`: the tensor
/// rope_freqs.weight, if any.
nlohmann::json gguf_config(const GgufHeader& header, const std::optional<std::vector<float>>& rope_factors,
                           std::vector<std::string>& warnings);

/// Llama 3's scaling with the parameters that all its models have, if these are the factors that follow from
/// it (each frequency is divided by its factor); otherwise null.
nlohmann::json llama3_scaling_of(std::span<const float> factors, double rope_theta);

}  // namespace stagformer::internal
