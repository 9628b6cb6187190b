#include "checkpoint/dataset_stream.hpp"

#include <xxhash.h>

#include <algorithm>

#include "base/aligned_buffer.hpp"
#include "base/check.hpp"
#include "kernels/packed_matrix.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {

struct DatasetStream::Hash {
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  Hash() : state(XXH3_createState()) { XXH3_64bits_reset(state.get()); }
  std::unique_ptr<XXH3_state_t, Free> state;
};

DatasetStream::DatasetStream(const CheckpointIndex& index, TensorReader& reader, const std::string& name)
    : DatasetStream(index, reader, name, 0, index.datasets.at(name).rows()) {}

DatasetStream::DatasetStream(const CheckpointIndex& index, TensorReader& reader, const std::string& name,
                             std::int64_t first, std::int64_t end)
    : index_(index), reader_(reader), name_(name), info_(index.datasets.at(name)), row_(first), end_(end) {
  if (reader.verifies() && info_.checksum && first == 0 && end == info_.rows())
    hash_ = std::make_unique<Hash>();
}

DatasetStream::~DatasetStream() = default;

void DatasetStream::read(std::int64_t count, std::byte* out) {
  STAG_CHECK(count >= 0 && count <= end_ - row_, name_, row_, count, end_);
  const std::int64_t step = std::max<std::int64_t>(1, kSliceBytes / row_bytes());
  for (const std::int64_t until = row_ + count; row_ < until;) {
    const std::int64_t rows = std::min(step, until - row_);
    const auto bytes = static_cast<std::size_t>(rows * row_bytes());
    reader_.read_rows(name_, row_, rows, {out, bytes});
    if (hash_) XXH3_64bits_update(hash_->state.get(), out, bytes);
    out += bytes;
    row_ += rows;
  }
  if (row_ == end_ && hash_ && XXH3_64bits_digest(hash_->state.get()) != *info_.checksum)
    throw CheckpointError(path_of_file(index_, info_.file), name_,
                          "wrong checksum: the bytes differ from those that were written");
}

void check_finite(const CheckpointIndex& index, const std::string& name, NumberFormat format,
                  const RowSlice& slice, const char* problem) {
  const DatasetInfo& info = index.datasets.at(name);
  const std::int64_t row = first_non_finite_row(format, slice.count, info.columns(), slice.stored.data());
  if (row < 0) return;
  const std::string at = info.shape.size() > 1 ? " in row " + std::to_string(slice.first + row) : "";
  throw CheckpointError(path_of_file(index, info.file), name, problem + at);
}

void stream_dataset(const CheckpointIndex& index, TensorReader& reader, const std::string& name,
                    const std::function<void(const RowSlice&)>& visit, std::int64_t slice_bytes) {
  DatasetStream stream(index, reader, name);
  const DatasetInfo& info = stream.info();
  const std::int64_t step = std::clamp<std::int64_t>(slice_bytes / stream.row_bytes(), 1, info.rows());
  AlignedBuffer<std::byte> buffer(static_cast<std::size_t>(step * stream.row_bytes()), false);
  while (stream.row() < info.rows()) {
    const std::int64_t first = stream.row(), count = std::min(step, info.rows() - first);
    stream.read(count, buffer.data());
    const RowSlice slice{first, count,
                         buffer.span().first(static_cast<std::size_t>(count * stream.row_bytes()))};
    check_finite(index, name, info.format, slice, "a value that is not finite");
    visit(slice);
  }
}

}  // namespace stagformer::internal
