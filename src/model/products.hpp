// Products of a batch with weights, shared by the threads of a region: every thread does its share of the
// output rows of all parts, and meets the others where all of a row is needed.
#pragma once

#include <initializer_list>
#include <span>
#include <vector>

#include "kernels/kernels.hpp"
#include "model/forward_context.hpp"

namespace stagformer::internal {

/// y = w x + bias for every row of the batch.
struct ProductPart {
  const PackedMatrix& w;
  const std::vector<float>& bias;  ///< empty, or one value an output
  float* y;                        ///< [rows, y_stride]
  std::int64_t y_stride;
};

/// Whether one of the matrices takes its activations quantised.
bool any_quantized(std::initializer_list<const PackedMatrix*> matrices);

/// RMSNorm of n rows x, as an operand of products; quantised as well where asked. Few rows are normalised by
/// every thread for itself, many are shared out: the threads then meet.
Activations normalize(const ForwardContext& context, const float* x, std::int64_t x_stride,
                      const std::vector<float>& weight, std::int64_t n, bool quantize);

/// Rows x of d values as they are, quantised where asked; x must stay as long as the operand is used.
Activations as_operand(const ForwardContext& context, const float* x, std::int64_t x_stride, std::int64_t n,
                       bool quantize);

/// All parts read the same operand; the threads do not meet.
void multiply(const ForwardContext& context, std::initializer_list<ProductPart> parts, const Activations& x,
              std::int64_t n);

/// u += w x, and the threads meet.
void add_product(const ForwardContext& context, const PackedMatrix& w, const Activations& x, std::int64_t n,
                 float* u, std::int64_t u_stride);

}  // namespace stagformer::internal
