#include "checkpoint/dataset_stream.hpp"

#include <xxhash.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "kernels/packed_matrix.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

struct FreeHash {
  void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};

}  // namespace

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
  const DatasetInfo& info = index.datasets.at(name);
  const std::int64_t row_bytes = info.bytes / info.rows();
  const std::int64_t step = std::clamp<std::int64_t>(slice_bytes / row_bytes, 1, info.rows());
  std::vector<std::byte> buffer(static_cast<std::size_t>(step * row_bytes));
  const std::unique_ptr<XXH3_state_t, FreeHash> hash(XXH3_createState());
  XXH3_64bits_reset(hash.get());
  for (std::int64_t first = 0; first < info.rows(); first += step) {
    const std::int64_t count = std::min(step, info.rows() - first);
    const std::span<std::byte> stored(buffer.data(), static_cast<std::size_t>(count * row_bytes));
    reader.read_rows(name, first, count, stored);
    XXH3_64bits_update(hash.get(), stored.data(), stored.size());
    const RowSlice slice{first, count, stored};
    check_finite(index, name, info.format, slice, "a value that is not finite");
    visit(slice);
  }
  if (info.checksum && XXH3_64bits_digest(hash.get()) != *info.checksum)
    throw CheckpointError(path_of_file(index, info.file), name,
                          "wrong checksum: the bytes differ from those that were written");
}

}  // namespace stagformer::internal
