#include <atomic>

#include "base/check.hpp"
#include "kernels/kernels.hpp"
#include "kernels/matmul_paths.hpp"

namespace stagformer::internal {
namespace {

std::atomic<MatmulKernels> chosen{MatmulKernels::native};

}  // namespace

void use_matmul_kernels(MatmulKernels kernels) {
  chosen.store(kernels, std::memory_order_relaxed);
}

void matmul(const PackedMatrix& w, const float* x, std::int64_t x_stride, std::int64_t batch, float* y,
            std::int64_t y_stride, std::int64_t panel_begin, std::int64_t panel_end) {
  STAG_DCHECK(panel_begin >= 0 && panel_end <= w.panels(), panel_begin, panel_end, w.panels());
  STAG_DCHECK(batch <= 1 || (x_stride >= w.columns && y_stride >= w.panels() * kPanelRows), x_stride,
              y_stride);
  const Product product{w, x, x_stride, batch, y, y_stride};
  if (chosen.load(std::memory_order_relaxed) == MatmulKernels::blas)
    matmul_blas(product, panel_begin, panel_end);
  else
    matmul_native(product, panel_begin, panel_end);
}

}  // namespace stagformer::internal
