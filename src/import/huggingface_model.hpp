// A folder of Hugging Face's as a source: Llama, Mistral and Qwen2.
#pragma once

#include "import/source.hpp"

namespace stagformer::internal {

/// Throws CheckpointError that names what is missing, damaged or not supported. `with_tokenizer` false: the
/// folder's tokenizer is not looked at.
ImportSource open_huggingface(const std::string& folder, bool with_tokenizer);

}  // namespace stagformer::internal
