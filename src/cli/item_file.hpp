// What `eval` is to score besides a plain text: pairs, questions and requests, one JSON object a line.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace stagformer::internal {

struct EvalItem {
  nlohmann::json id;    ///< as given, else the line's number
  std::string place;    ///< "FILE, line N", for messages
  std::string context;  ///< may be empty
  /// What is scored behind the context: the good and the bad sentence, the choices, or the one continuation.
  std::vector<std::string> endings;
  std::size_t label = 0;    ///< the right one of them
  bool whole_text = false;  ///< of a request: the only ending is a text of its own, of any length
};

/// {"sentence_good", "sentence_bad"}
std::vector<EvalItem> read_pairs(const std::string& path);
/// {"context" | "ctx" | "query", "choices" | "endings", "label" | "gold"}; a label counts from 0.
std::vector<EvalItem> read_choices(const std::string& path);
/// {"context", "continuation"} or {"text"}
std::vector<EvalItem> read_requests(const std::string& path);
// All: "id" is a string or an integer and may be missing, other keys are passed over. Every problem is an
// InputError that names file and line; a file without a line is one too.

}  // namespace stagformer::internal
