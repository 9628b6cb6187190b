// What the SentencePiece library does not check before it ends the process.
#pragma once

#include <string_view>

namespace stagformer::internal {

/// The library keeps its pieces in a structure of C strings, and ends the process over one that is empty
/// there. Walks over the model's fields (protocol buffers: ModelProto.pieces = 1, SentencePiece.piece = 1)
/// and throws CheckpointError for pieces that hold the byte 0, and for a model that ends within a field.
void check_sentencepiece_pieces(std::string_view model);

}  // namespace stagformer::internal
