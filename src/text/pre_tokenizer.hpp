// How a text is cut into words before byte-pair encoding: the `pre_tokenizer` of a tokenizer.json.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "text/regex.hpp"
#include "text/tokenizer_json.hpp"

namespace stagformer::internal {

enum class SplitBehavior { isolated, removed, contiguous, merged_with_previous, merged_with_next };

/// The pieces that matches cut a text of `size` bytes into; empty ones are left out. `invert`: what lies
/// between the matches counts as the matches.
std::vector<TextRange> split_at_matches(const std::vector<TextRange>& matches, std::size_t size,
                                        SplitBehavior behavior, bool invert);

class PreTokenizer {
 public:
  /// Refuses by name what is not supported, and whatever does not end in ByteLevel.
  explicit PreTokenizer(const JsonNode& node);
  /// Words of a valid UTF-8 text, in order, as raw bytes.
  std::vector<std::string> split(std::string_view text) const;

 private:
  /// One member of the sequence: an optional leading space, then an optional split.
  struct Step {
    bool add_prefix_space = false;
    std::optional<Regex> pattern;
    SplitBehavior behavior = SplitBehavior::isolated;
    bool invert = false;
    void apply(std::string word, std::vector<std::string>& out) const;
  };

  void add(const JsonNode& node, int depth);
  void add_byte_level(const JsonNode& node);
  void add_split(const JsonNode& node);
  void add_digits(const JsonNode& node);

  std::vector<Step> steps_;
  bool byte_level_ = false;
};

}  // namespace stagformer::internal
