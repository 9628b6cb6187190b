// A tokenizer.json of Hugging Face's `tokenizers`: byte-level BPE and what usually surrounds it.
#pragma once

#include "text/tokenizer.hpp"

namespace stagformer::internal {

/// `model`: the bytes of a tokenizer.json. Throws CheckpointError that names the part which is damaged or not
/// supported. The file's post_processor is ignored: whether a text begins with BOS is said by the model's
/// configuration.
std::unique_ptr<Tokenizer> make_huggingface_tokenizer(std::span<const std::byte> model);

}  // namespace stagformer::internal
