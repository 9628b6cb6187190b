// Products by OpenBLAS. Its order of sums follows the shape of the call, so every call has the same one: a
// group of 2 panels (64 outputs, at a multiple of 2 panels), 16 rows of x, all columns; what a tile lacks is
// zero.
#include "kernels/blas.hpp"

#include <cblas.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <mutex>

#include "base/aligned_buffer.hpp"
#include "kernels/kernels.hpp"
#include "kernels/matmul_paths.hpp"

namespace stagformer::internal {
namespace {

constexpr std::int64_t kGroupPanels = 2;
constexpr std::int64_t kTileOutputs = kGroupPanels * kPanelRows;
constexpr std::int64_t kTileRows = 16;

// A thread's buffers, kept from call to call; they grow to the widest matrix.
struct TileScratch {
  AlignedBuffer<float> weights;                      // [columns][64]
  AlignedBuffer<float> x;                            // [16][columns]
  AlignedBuffer<float> y{kTileOutputs * kTileRows};  // [64][16]

  void reserve(std::int64_t columns) {
    const auto needed = static_cast<std::size_t>(columns * kTileOutputs);
    if (weights.size() >= needed) return;
    weights = AlignedBuffer<float>(needed);
    x = AlignedBuffer<float>(static_cast<std::size_t>(columns * kTileRows));
  }
};

TileScratch& thread_scratch() {
  thread_local TileScratch scratch;
  return scratch;
}

void use_one_thread() {
  static std::once_flag once;
  std::call_once(once, [] { openblas_set_num_threads(1); });
}

void expand_group(const PackedMatrix& w, std::int64_t first_panel, float* out) {
  for (std::int64_t p = 0; p < kGroupPanels; ++p) {
    if (first_panel + p < w.panels()) {
      expand_panel(w, first_panel + p, kTileOutputs, out + p * kPanelRows);
    } else {
      for (std::int64_t k = 0; k < w.columns; ++k)
        std::fill_n(out + k * kTileOutputs + p * kPanelRows, kPanelRows, 0.0f);
    }
  }
}

void copy_rows(const Product& a, std::int64_t row, std::int64_t rows, float* to) {
  const auto columns = static_cast<std::size_t>(a.w.columns);
  for (std::int64_t b = 0; b < rows; ++b)
    std::memcpy(to + b * a.w.columns, a.x.values + (row + b) * a.x.stride, columns * sizeof(float));
  std::fill_n(to + rows * a.w.columns, (kTileRows - rows) * a.w.columns, 0.0f);
}

// One group of panels: all rows of x, 16 at a time; outputs outside [begin, end) are another thread's.
void group_product(const Product& a, std::int64_t group, std::int64_t begin, std::int64_t end,
                   TileScratch& scratch) {
  const std::int64_t first_panel = group * kGroupPanels, columns = a.w.columns;
  expand_group(a.w, first_panel, scratch.weights.data());
  const std::int64_t from = std::max(begin, first_panel) * kPanelRows;
  const std::int64_t to = std::min(end, first_panel + kGroupPanels) * kPanelRows;
  for (std::int64_t row = 0; row < a.batch; row += kTileRows) {
    const std::int64_t rows = std::min(kTileRows, a.batch - row);
    copy_rows(a, row, rows, scratch.x.data());
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasTrans, kTileOutputs, kTileRows, static_cast<blasint>(columns),
                1, scratch.weights.data(), kTileOutputs, scratch.x.data(), static_cast<blasint>(columns), 0,
                scratch.y.data(), kTileRows);
    for (std::int64_t b = 0; b < rows; ++b)
      for (std::int64_t r = from; r < to; ++r)
        a.y[(row + b) * a.y_stride + r] =
            scratch.y[static_cast<std::size_t>((r - first_panel * kPanelRows) * kTileRows + b)];
  }
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

void matmul_blas(const Product& a, std::int64_t panel_begin, std::int64_t panel_end) {
  if (a.batch <= 0 || panel_begin >= panel_end) return;
  use_one_thread();
  TileScratch& scratch = thread_scratch();
  scratch.reserve(a.w.columns);
  for (std::int64_t group = panel_begin / kGroupPanels; group * kGroupPanels < panel_end; ++group)
    group_product(a, group, panel_begin, panel_end, scratch);
}

std::string blas_library_version() {
  const std::string config = openblas_get_config();  // "OpenBLAS 0.3.21 NO_LAPACKE ..."
  const std::size_t first = config.find(' ');
  if (first == std::string::npos) return config;
  return config.substr(first + 1, config.find(' ', first + 1) - first - 1);
}

std::string blas_core_name() {
  return openblas_get_corename();
}

std::string better_blas_core() {
  const std::string core = lower(blas_core_name());
  const auto is_one_of = [&core](std::initializer_list<const char*> names) {
    return std::any_of(names.begin(), names.end(), [&core](const char* name) { return core == name; });
  };
  const bool avx512 = is_one_of({"skylakex", "cooperlake", "sapphirerapids"});
  const bool avx2 = avx512 || is_one_of({"haswell", "zen", "excavator"});
  if (best_instruction_set() == 2 && !avx512) return "SKYLAKEX";
  if (best_instruction_set() == 1 && !avx2) return "HASWELL";
  return "";
}

}  // namespace stagformer::internal
