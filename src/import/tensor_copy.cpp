#include "import/tensor_copy.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/number_bits.hpp"
#include "kernels/packed_matrix.hpp"

namespace stagformer::internal {
namespace {

constexpr std::int64_t kSliceBytes = 8 << 20;

class TensorCopy {
 public:
  TensorCopy(const SourceFile& file, const SourceTensor& tensor, NumberFormat to, const ThreadTeam& team)
      : file_(file), tensor_(tensor), to_(to), team_(team), row_bytes_(tensor.bytes / tensor.rows()) {}

  void run(const std::function<void(std::span<const std::byte>)>& write) {
    const std::int64_t unit = std::max<std::int64_t>(1, paired());
    const std::int64_t step = std::max<std::int64_t>(1, kSliceBytes / (row_bytes_ * unit)) * unit;
    for (std::int64_t first = 0; first < tensor_.rows(); first += step) {
      const std::int64_t count = std::min(step, tensor_.rows() - first);
      std::vector<std::byte> stored(static_cast<std::size_t>(count * row_bytes_));
      file_.read(tensor_.offset + first * row_bytes_, stored);
      if (paired() > 0) stored = halved(stored, count);
      write(converted(stored, first, count));
    }
  }

 private:
  /// Rows of a head; a bias is one row, whose values are moved instead.
  std::int64_t paired() const { return tensor_.shape.size() > 1 ? tensor_.paired_rows : 0; }

  /// Row 2 j + half of a head becomes row half * a/2 + j.
  std::vector<std::byte> halved(const std::vector<std::byte>& stored, std::int64_t count) const {
    std::vector<std::byte> out(stored.size());
    const auto bytes = static_cast<std::size_t>(row_bytes_);
    for (std::int64_t r = 0; r < count; ++r)
      std::memcpy(out.data() + static_cast<std::size_t>(place_of(r)) * bytes,
                  stored.data() + static_cast<std::size_t>(r) * bytes, bytes);
    return out;
  }
  std::int64_t place_of(std::int64_t r) const {
    const std::int64_t a = tensor_.paired_rows, in_head = r % a;
    return r - in_head + in_head % 2 * (a / 2) + in_head / 2;
  }

  /// As they are where nothing changes; otherwise row by row through f32, which holds every source type
  /// exactly.
  const std::vector<std::byte>& converted(std::vector<std::byte>& stored, std::int64_t first,
                                          std::int64_t count) {
    const bool moves_values = tensor_.shape.size() == 1 && tensor_.paired_rows > 0;
    if (same_format(tensor_.type) == to_ && !moves_values) {
      check_finite(to_, stored, first, count, "a value that is not finite");
      return stored;
    }
    const std::int64_t columns = tensor_.columns(), to_bytes = stored_row_bytes(to_, columns);
    out_.resize(static_cast<std::size_t>(count * to_bytes));
    std::vector<std::byte>& out = out_;
    team_.for_ranges(count, count * columns, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> row(static_cast<std::size_t>(columns)), turned(row.size());
      for (std::int64_t r = begin; r < end; ++r) {
        row_to_f32(tensor_.type, std::span(stored).subspan(static_cast<std::size_t>(r * row_bytes_)), row);
        for (std::int64_t k = 0; moves_values && k < columns; ++k)
          turned[static_cast<std::size_t>(place_of(k))] = row[static_cast<std::size_t>(k)];
        if (!std::ranges::all_of(row, f32_is_finite)) refuse(first + r, "a value that is not finite");
        quantize_row(to_, columns, (moves_values ? turned : row).data(), out.data() + r * to_bytes);
      }
    });
    check_finite(to_, out, first, count, "a value that is too large for its new number format");
    return out;
  }

  void check_finite(NumberFormat format, const std::vector<std::byte>& stored, std::int64_t first,
                    std::int64_t count, const char* problem) const {
    const std::int64_t row = first_non_finite_row(format, count, tensor_.columns(), stored.data());
    if (row >= 0) refuse(first + row, problem);
  }

  [[noreturn]] void refuse(std::int64_t row, const char* problem) const {
    const std::string where = tensor_.shape.size() > 1 ? " in row " + std::to_string(row) : "";
    refuse_source(file_.path(), "tensor '" + tensor_.name + "' has " + problem + where);
  }

  const SourceFile& file_;
  const SourceTensor& tensor_;
  NumberFormat to_;
  const ThreadTeam& team_;
  std::int64_t row_bytes_;
  std::vector<std::byte> out_;
};

}  // namespace

void copy_tensor(const SourceFile& file, const SourceTensor& tensor, NumberFormat to, const ThreadTeam& team,
                 const std::function<void(std::span<const std::byte>)>& write) {
  TensorCopy(file, tensor, to, team).run(write);
}

bool is_all_zero(const SourceFile& file, const SourceTensor& tensor) {
  std::vector<std::byte> stored(static_cast<std::size_t>(tensor.bytes));
  std::vector<float> values(static_cast<std::size_t>(tensor.columns()));
  file.read(tensor.offset, stored);
  row_to_f32(tensor.type, stored, values);
  return std::ranges::all_of(values, [](float value) { return value == 0; });
}

}  // namespace stagformer::internal
