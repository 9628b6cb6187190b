// A dataset of any size in slices of whole rows, checked on the way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "checkpoint/index.hpp"
#include "checkpoint/tensor_reader.hpp"

namespace stagformer::internal {

/// What is read, hashed and used before the next bytes: with the copies made of it, it should stay in a
/// core's second-level cache; a system call should still be short beside it. (256 KiB to 1 MiB measure
/// alike.)
inline constexpr std::int64_t kSliceBytes = 512 << 10;

/// The rows of a dataset from front to back, hashed while they are in the cache.
class DatasetStream {
 public:
  DatasetStream(const CheckpointIndex& index, TensorReader& reader, const std::string& name);
  /// Rows [first, end) alone. A checksum is of the whole dataset: a part of it is not verified.
  DatasetStream(const CheckpointIndex& index, TensorReader& reader, const std::string& name,
                std::int64_t first, std::int64_t end);
  ~DatasetStream();

  const DatasetInfo& info() const { return info_; }
  std::int64_t row_bytes() const { return info_.bytes / info_.rows(); }
  /// The row that comes next; `end` behind the last.
  std::int64_t row() const { return row_; }
  /// Reads the next `count` rows to `out`. Throws CheckpointError for a short read and, with the last row,
  /// for a wrong checksum if the reader verifies.
  void read(std::int64_t count, std::byte* out);

 private:
  struct Hash;
  const CheckpointIndex& index_;
  TensorReader& reader_;
  const std::string& name_;
  const DatasetInfo& info_;
  std::int64_t row_, end_;
  std::unique_ptr<Hash> hash_;  // none where nothing is verified
};

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
