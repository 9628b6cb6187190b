// A checkpoint from a model of the Llama family in a foreign file: an ordinary decoder, cut into chained
// sections. No more than slices of tensors are in memory.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "stagformer/number_format.hpp"

namespace stagformer::internal {

struct ImportOptions {
  std::string input, output;             ///< a GGUF file or a folder of Hugging Face's; the checkpoint
  std::optional<std::int64_t> sections;  ///< nothing: one, or as many as the list has
  std::optional<std::string> layers_per_section;  ///< "10,20"
  std::optional<NumberFormat> to;                 ///< of matrices; nothing: as stored, float16 as f32
  bool with_tokenizer = true;
  bool split = false;             ///< one file a section beside the root file
  std::int64_t alignment = 4096;  ///< of datasets, bytes
  /// Bytes read so far and in all.
  std::function<void(std::int64_t done, std::int64_t total)> progress;
};

struct ImportReport {
  std::string description;  ///< of the source
  std::vector<int> layers_per_section;
  std::string tokenizer;  ///< type and size, or "none"
  std::int64_t datasets = 0;
  std::int64_t widened = 0;       ///< matrices of float16 that became f32
  std::int64_t converted = 0;     ///< matrices whose number format changed otherwise
  std::vector<std::string> kept;  ///< matrices left as they were: their rows are no multiple of 32 values
  std::int64_t input_bytes = 0, output_bytes = 0;
  std::vector<std::string> files;  ///< written, the root file first
  std::vector<std::string> warnings;
};

/// Throws CheckpointError for a source that is damaged or not supported, UsageError for sections that do not
/// fit, InputError for an output that cannot be written; then no output is left behind.
ImportReport import_model(const ImportOptions& options);

}  // namespace stagformer::internal
