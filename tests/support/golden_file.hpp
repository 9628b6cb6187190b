// The expected numbers of tests/golden, written by the Python reference.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace stagformer::test {

/// A dataset of floats with its shape.
struct GoldenArray {
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};

struct Golden {
  std::int64_t batch = 0, length = 0;  ///< B, T
  std::vector<std::int32_t> tokens;    ///< [B, T]
  GoldenArray section_outputs;         ///< [p, B, T, d]
  GoldenArray log_probabilities;       ///< [B, T, V]
  std::vector<std::int32_t> greedy;    ///< [B, n]
  std::int64_t greedy_length = 0, prompt_tokens = 0, recurrent_after = -1;
  GoldenArray recurrent_own, recurrent_previous_pass;  ///< [B, T, V]; empty where the case has none
};

/// The folder of the golden files: STAGFORMER_GOLDEN of the environment, else tests/golden.
std::string golden_folder();
/// Path of the checkpoint and of the golden file of a case; twins: "twins/NAME".
std::string golden_checkpoint(const std::string& name);
Golden read_golden(const std::string& name);

/// Names of the golden files in the folder (or a folder below it), sorted.
std::vector<std::string> golden_cases(const std::string& folder = "");

}  // namespace stagformer::test
