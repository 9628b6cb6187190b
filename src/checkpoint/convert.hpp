// One checkpoint from another: other number formats, one file or several. No more than slices of rows are in
// memory.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "stagformer/number_format.hpp"

namespace stagformer::internal {

struct ConvertOptions {
  std::string input, output;
  std::optional<NumberFormat> to;  ///< of linear weights, embedding and head; nothing: as they are
  bool split = false;              ///< one file a section beside the root file
  std::int64_t alignment = 4096;   ///< of datasets, bytes
  /// Bytes read so far and in all.
  std::function<void(std::int64_t done, std::int64_t total)> progress;
};

struct ConvertReport {
  std::int64_t stored_datasets = 0;  ///< written, each once
  std::int64_t linked_datasets = 0;  ///< further names of those
  std::int64_t converted = 0;        ///< datasets whose number format changed
  std::vector<std::string> kept;     ///< matrices left as they were: their rows are no multiple of 32 values
  std::int64_t input_bytes = 0;      ///< of the stored datasets
  std::int64_t output_bytes = 0;
  std::vector<std::string> files;     ///< written, the root file first
  std::vector<std::string> warnings;  ///< of the input
};

/// Configuration and tokenizer are kept byte for byte; shared weights stay links. Norms, biases and
/// coefficients stay f32. Throws InputError where output and input are the same file, CheckpointError for a
/// damaged input or for values that the format cannot hold; then no output is left behind.
ConvertReport convert_checkpoint(const ConvertOptions& options);

}  // namespace stagformer::internal
