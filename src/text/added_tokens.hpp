// Tokens that are cut out of the text before anything else: the `added_tokens` of a tokenizer.json.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/normalizer.hpp"
#include "text/tokenizer_json.hpp"

namespace stagformer::internal {

struct AddedToken {
  std::string content;
  std::int32_t id = -1;
  bool special = false;      ///< no text of its own when decoded
  bool single_word = false;  ///< only where no word character touches it
  bool lstrip = false;       ///< takes the white space before it along
  bool rstrip = false;       ///< and behind it
  bool normalized = false;   ///< sought in the normalised text
};
std::vector<AddedToken> read_added_tokens(const JsonNode& list);

/// A stretch of text, or the token that stands in its place (id >= 0).
struct TextSegment {
  std::string_view text;
  std::int32_t id = -1;
};

/// Finds tokens in a text: the leftmost, and of those that begin there the longest.
class AddedTokenMatcher {
 public:
  /// `content` of the token is what is sought, already normalised where it has to be.
  void add(const AddedToken& token);
  /// Segments in order; what lies between tokens is never empty. Special tokens are not found where one of
  /// their bytes is foreign ([text.size()], or nothing).
  std::vector<TextSegment> split(std::string_view text, const std::vector<bool>& foreign = {}) const;

 private:
  struct Node {
    std::unordered_map<char, std::size_t> children;
    std::ptrdiff_t token = -1;  ///< index into tokens_ of the content that ends here
  };

  const AddedToken* longest_at(std::string_view text, std::size_t begin,
                               const std::vector<bool>& foreign) const;

  std::vector<Node> nodes_{1};  ///< a trie over bytes; node 0 is the root
  std::vector<AddedToken> tokens_;
};

}  // namespace stagformer::internal
