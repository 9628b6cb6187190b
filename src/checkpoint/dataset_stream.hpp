// A dataset of any size in slices of whole rows, checked on the way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "checkpoint/index.hpp"
#include "checkpoint/tensor_reader.hpp"

namespace stagformer::internal {

/// A few rows of a dataset as stored; valid during the call it is handed to.
struct RowSlice {
  std::int64_t first = 0, count = 0;
  std::span<const std::byte> stored;
};

/// Reads the whole dataset, at most `slice_bytes` (or one row) at a time. Throws CheckpointError for a value
/// that is not finite and, after the last slice, for a wrong checksum.
void stream_dataset(const CheckpointIndex& index, TensorReader& reader, const std::string& name,
                    const std::function<void(const RowSlice&)>& visit, std::int64_t slice_bytes = 16 << 20);

/// Throws CheckpointError naming the first row (counted from `first`) that has a value which is not finite.
void check_finite(const CheckpointIndex& index, const std::string& name, NumberFormat format,
                  const RowSlice& slice, const char* problem);

}  // namespace stagformer::internal
