// Regular expressions of tokenizer.json, which are written for Oniguruma, run by PCRE2.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct pcre2_real_code_8;

namespace stagformer::internal {

struct TextRange {
  std::size_t begin, end;  ///< bytes
};

class Regex {
 public:
  /// `literal`: the pattern is a plain text. Throws CheckpointError for what is no pattern or means different
  /// things to the two libraries; `where` names the pattern's place in the file.
  Regex(const std::string& pattern, bool literal, const std::string& where);

  /// All matches of a valid UTF-8 text from left to right. Throws InputError where the search takes too long.
  std::vector<TextRange> matches(std::string_view text) const;

 private:
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  std::unique_ptr<pcre2_real_code_8, Free> code_;
};

/// The pattern in PCRE2's words: \s and \w are the character sets of Oniguruma. Throws as above.
std::string pattern_for_pcre2(std::string_view pattern, const std::string& where);

}  // namespace stagformer::internal
