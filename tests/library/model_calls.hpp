// What the tests of the library ask of a model, wherever it runs.
#pragma once

#include <string>
#include <vector>

#include "stagformer/engine.hpp"

namespace stagformer::test {

inline std::string golden(const std::string& name) {
  return std::string(STAGFORMER_GOLDEN_DIR) + "/" + name + ".h5";
}

/// Prompts of unlike lengths and settings; that of place i depends on i where it is sampled.
inline std::vector<Prompt> mixed_prompts() {
  std::vector<Prompt> prompts;
  for (int i = 0; i < 7; ++i) {
    Prompt prompt;
    prompt.text = std::string("prompt number ").substr(0, 3 + 2 * static_cast<std::size_t>(i));
    prompt.options.max_tokens = 3 + 5 * (i % 3);
    prompt.options.temperature = i % 2 == 0 ? 0.0F : 0.9F;
    prompt.options.seed = 5;
    prompt.options.log_probabilities = true;
    prompts.push_back(prompt);
  }
  return prompts;
}

inline std::vector<std::vector<std::int32_t>> ids_of(const std::vector<Generation>& generations) {
  std::vector<std::vector<std::int32_t>> ids;
  for (const Generation& generation : generations) ids.push_back(generation.token_ids);
  return ids;
}

inline std::vector<std::vector<std::int32_t>> mixed_ids(Model& model) {
  return ids_of(model.generate_all(mixed_prompts()));
}

}  // namespace stagformer::test
