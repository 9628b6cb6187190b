// The header of a safetensors file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "import/source.hpp"

namespace stagformer::internal {

/// `prefix`: the first bytes of a file of `file_bytes` bytes. Nothing is returned where the header is longer
/// than the prefix. Types, shapes and places are checked against each other and against the file's size; the
/// tensors must cover the data without gaps, as the format asks. `file` of the tensors is left at 0.
std::optional<std::vector<SourceTensor>> parse_safetensors_header(const std::string& file,
                                                                  std::span<const std::byte> prefix,
                                                                  std::int64_t file_bytes);

std::vector<SourceTensor> read_safetensors_header(const SourceFile& file);

}  // namespace stagformer::internal
