// From the scores of sequences to results a line and to accuracies, counted as the lm-evaluation-harness
// counts them.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "cli/item_file.hpp"
#include "pipeline/scoring.hpp"

namespace stagformer::internal {

/// What decides between the endings of an item; of equals the first wins.
struct ItemVerdict {
  bool acc = false;        ///< the right one has the largest log-probability
  bool acc_norm = false;   ///< ... divided by its number of characters
  bool acc_bytes = false;  ///< ... divided by its number of bytes in UTF-8
};
ItemVerdict judge(const EvalItem& item, std::span<const SequenceScore> endings);

/// Share of right ones, and the standard error of that mean (with n - 1; 0 for a single one).
struct Accuracy {
  double mean = 0, standard_error = 0;
};
Accuracy accuracy(std::int64_t right, std::int64_t all);

/// {"id", "label", "acc", "acc_norm", "acc_bytes", "log_probabilities", "tokens"}
nlohmann::ordered_json choice_record(const EvalItem& item, std::span<const SequenceScore> endings);
/// {"id", "log_probability", "tokens", "greedy"} of one or more windows together
nlohmann::ordered_json request_record(const EvalItem& item, std::span<const SequenceScore> windows);

}  // namespace stagformer::internal
