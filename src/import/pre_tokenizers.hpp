// How text is cut into words before byte-pair merging, by the names that GGUF gives to the ways of various
// models.
#pragma once

#include <string>
#include <vector>

namespace stagformer::internal {

struct PreTokenizerRule {
  const char* name;  ///< in tokenizer.ggml.pre
  std::vector<const char*>
      patterns;                ///< applied one after another; what matches and what lies between are words
  bool ignore_merges = false;  ///< a word that is a token is not taken apart
  bool composes = false;       ///< the model's own tokenizer brings text to NFC first
  bool add_bos = false;        ///< where the file does not say
};

/// Null for a name that is not known.
const PreTokenizerRule* find_pre_tokenizer(const std::string& name);
/// "default, gpt-2, ..."
std::string known_pre_tokenizers();

}  // namespace stagformer::internal
