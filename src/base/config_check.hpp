#pragma once

#include "stagformer/config.hpp"

namespace stagformer::internal {

/// Throws ConfigError for the first value, or pair of values, that no model can have.
void check_config(const ModelConfig& config);

}  // namespace stagformer::internal
