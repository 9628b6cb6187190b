#include "model/products.hpp"

#include <algorithm>

namespace stagformer::internal {
namespace {

using Panels = std::pair<std::int64_t, std::int64_t>;

/// Rows [first, second) of the outputs that these panels hold.
Panels rows_of(const PackedMatrix& w, const Panels& panels) {
  return {panels.first * kPanelRows, std::min(panels.second * kPanelRows, w.rows)};
}

void multiply_panels(const ProductPart& part, const Activations& x, std::int64_t n, const Panels& panels) {
  matmul(part.w, x, n, part.y, part.y_stride, panels.first, panels.second);
  if (part.bias.empty()) return;
  const auto [begin, end] = rows_of(part.w, panels);
  for (std::int64_t b = 0; b < n; ++b)
    add(part.y + b * part.y_stride + begin, part.bias.data() + begin, end - begin);
}

/// Rows of d values made ready by prepare(to, row): a single one by every thread for itself, more are shared
/// out, and the threads then meet.
template <typename Prepare>
Operand& prepare_rows(const ForwardContext& context, std::int64_t n, const Prepare& prepare) {
  Operand& to = n == 1 ? context.own().row_of_d : context.scratch.normed;
  const auto [begin, end] = n == 1 ? Panels{0, 1} : context.worker.share(n);
  for (std::int64_t b = begin; b < end; ++b) prepare(to, b);
  if (n > 1) context.worker.meet();
  return to;
}

}  // namespace

bool any_quantized(std::initializer_list<const PackedMatrix*> matrices) {
  return std::ranges::any_of(matrices,
                             [](const PackedMatrix* w) { return w->rows > 0 && wants_quantized(*w); });
}

Activations normalize(const ForwardContext& context, const float* x, std::int64_t x_stride,
                      const std::vector<float>& weight, std::int64_t n, bool quantize) {
  const auto d = static_cast<std::int64_t>(weight.size());
  const auto eps = static_cast<float>(context.config.rms_norm_eps);
  return prepare_rows(context, n,
                      [&](Operand& to, std::int64_t b) {
                        rms_norm(x + b * x_stride, weight.data(), d, eps, to.values(b));
                        if (quantize) to.quantize(b);
                      })
      .view();
}

Activations as_operand(const ForwardContext& context, const float* x, std::int64_t x_stride, std::int64_t n,
                       bool quantize) {
  Activations rows{x, x_stride, nullptr, 0};
  if (!quantize) return rows;
  const Activations quantized = prepare_rows(context, n, [&](Operand& to, std::int64_t b) {
                                  to.quantize_from(x + b * x_stride, b);
                                }).view();
  rows.quantized = quantized.quantized;
  rows.quantized_stride = quantized.quantized_stride;
  return rows;
}

void multiply(const ForwardContext& context, std::initializer_list<ProductPart> parts, const Activations& x,
              std::int64_t n) {
  std::int64_t panels = 0;
  for (const ProductPart& part : parts) panels += part.w.panels();
  const auto [begin, end] = context.worker.share(panels);
  std::int64_t first = 0;  // the part's first panel in the row of all
  for (const ProductPart& part : parts) {
    const Panels own{std::max(begin - first, std::int64_t{0}), std::min(end - first, part.w.panels())};
    if (own.first < own.second) multiply_panels(part, x, n, own);
    first += part.w.panels();
  }
}

void add_product(const ForwardContext& context, const PackedMatrix& w, const Activations& x, std::int64_t n,
                 float* u, std::int64_t u_stride) {
  const std::int64_t stride = whole_panels(w.rows);
  const Panels panels = context.worker.share(w.panels());
  const auto [begin, end] = rows_of(w, panels);
  if (panels.first < panels.second) {
    float* y = context.scratch.projected.data();
    matmul(w, x, n, y, stride, panels.first, panels.second);
    for (std::int64_t b = 0; b < n; ++b) add(u + b * u_stride + begin, y + b * stride + begin, end - begin);
  }
  context.worker.meet();
}

}  // namespace stagformer::internal
