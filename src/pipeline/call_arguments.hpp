// What a program passes to the library: checked, compared between ranks, made into what the engine takes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "pipeline/evaluation.hpp"
#include "pipeline/generation.hpp"
#include "stagformer/engine.hpp"
#include "text/tokenizer.hpp"

namespace stagformer::internal {

/// One call as ranks compare it.
struct CallId {
  std::uint64_t digest = 0;  ///< of the call's name and all its arguments
  std::string text;          ///< "generate of 3 prompts, the first 'Once'"
};
CallId id_of_generate(std::span<const Prompt> prompts);
CallId id_of_score(std::span<const std::string> texts, std::int64_t window);
/// Of what must be the same on all ranks.
CallId id_of_load(const LoadOptions& options);

/// Throws UsageError for values out of range.
void check_load_options(const LoadOptions& options);

/// What prompts and texts are checked against.
struct TextRules {
  const ModelConfig& config;
  const Tokenizer& tokenizer;
  std::int64_t context;
  bool drafts = false;

  std::int64_t bos() const { return config.add_bos && config.bos_token_id ? *config.bos_token_id : -1; }
  /// Throws CheckpointError for ids outside the model's vocabulary.
  std::vector<std::int32_t> tokens_of(const std::string& text) const;
};

/// Request i of prompt i. Throws InputError, and UsageError for values out of range; with several prompts the
/// message names the one.
std::vector<GenerationRequest> make_requests(std::span<const Prompt> prompts, const TextRules& rules);

/// The windows of several texts in a row, and where their scores belong.
struct ScoringWork {
  std::vector<Scores> scores;  ///< of text i: tokens, and NaN so far
  std::vector<Window> windows;
  struct Place {
    std::size_t text, token;  ///< of a window's first predicted token
  };
  std::vector<Place> places;  ///< [windows]

  void put(std::size_t window, const WindowScores& values);
};
/// `window`: tokens, 0 = the context. Throws InputError, UsageError.
ScoringWork make_windows(std::span<const std::string> texts, std::int64_t window, const TextRules& rules);

}  // namespace stagformer::internal
