#include <atomic>

#include "base/check.hpp"
#include "kernels/kernels.hpp"
#include "kernels/matmul_paths.hpp"

namespace stagformer::internal {
namespace {

std::atomic<MatmulKernels> chosen_kernels{MatmulKernels::native};
std::atomic<ActivationFormat> chosen_activations{ActivationFormat::int8};

}  // namespace

void use_matmul_kernels(MatmulKernels kernels) {
  chosen_kernels.store(kernels, std::memory_order_relaxed);
}

void use_activations(ActivationFormat format) {
  chosen_activations.store(format, std::memory_order_relaxed);
}

bool wants_quantized(const PackedMatrix& w) {
  return is_block_format(w.format) &&
         chosen_activations.load(std::memory_order_relaxed) == ActivationFormat::int8 &&
         chosen_kernels.load(std::memory_order_relaxed) == MatmulKernels::native;
}

void matmul(const PackedMatrix& w, const Activations& x, std::int64_t batch, float* y, std::int64_t y_stride,
            std::int64_t panel_begin, std::int64_t panel_end) {
  STAG_DCHECK(panel_begin >= 0 && panel_end <= w.panels(), panel_begin, panel_end, w.panels());
  STAG_DCHECK(batch <= 1 || y_stride >= w.panels() * kPanelRows, y_stride, w.panels());
  if (batch <= 0 || panel_begin >= panel_end) return;
  const Product product{w, x, batch, y, y_stride};
  if (chosen_kernels.load(std::memory_order_relaxed) == MatmulKernels::blas)
    return matmul_blas(product, panel_begin, panel_end);
  if (!wants_quantized(w)) return matmul_float(product, panel_begin, panel_end);
  STAG_DCHECK(x.quantized != nullptr, w.rows, w.columns);
  matmul_int8(product, panel_begin, panel_end);
}

}  // namespace stagformer::internal
