// A GGUF file as a source: architectures llama and qwen2.
#pragma once

#include "import/source.hpp"

namespace stagformer::internal {

/// Throws CheckpointError that names what is damaged, unknown or not supported. `with_tokenizer` false: the
/// file's tokenizer is not looked at.
ImportSource open_gguf(const std::string& path, bool with_tokenizer);

}  // namespace stagformer::internal
