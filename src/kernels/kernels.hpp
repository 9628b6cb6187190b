// The arithmetic: pure functions on memory of the caller, one thread a call, no allocation.
// Every output value is summed in one fixed order that depends neither on batch, nor on threads, nor on
// vector width.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/attention.hpp"
#include "kernels/packed_matrix.hpp"
#include "stagformer/config.hpp"

namespace stagformer::internal {

/// Instruction sets, better ones higher; all ranks of a job run the least of theirs (0 = portable).
int best_instruction_set();
void use_instruction_set(int level);  ///< once, before any kernel runs
const char* instruction_set_name(int level);

enum class MatmulKernels { native, blas };
/// Chooses the product used by matmul() from now on; blas works on fixed tiles of dequantised panels.
void use_matmul_kernels(MatmulKernels kernels);

/// What products of block formats multiply their weights with: f32 values, or int8 quants of them.
enum class ActivationFormat { f32, int8 };
/// Chooses for all matmul() from now on; int8 at start. f32 multiplies dequantised weights, exactly.
void use_activations(ActivationFormat format);
/// Whether a product with w takes its rows quantised: a block format with int8 activations, not on BLAS.
bool wants_quantized(const PackedMatrix& w);

/// Bytes of one quantised row of `columns` values, a multiple of 64.
std::int64_t quantized_row_bytes(std::int64_t columns);
/// Blocks [block_begin, block_end) of 32 values of a row at x to int8; `row` is the first byte of the
/// quantised row, and threads may share it. Each block has a scale max|x| / 127; a value that is not finite
/// makes every output of its row NaN.
void quantize_activations(const float* x, std::int64_t block_begin, std::int64_t block_end,
                          std::int64_t columns, std::byte* row);

/// Rows of x: row b at values + b * stride, or quantised at quantized + b * quantized_stride (bytes). Only
/// the one that wants_quantized() says is read.
struct Activations {
  const float* values;
  std::int64_t stride;
  const std::byte* quantized;
  std::int64_t quantized_stride;
};

/// y[b][r] = sum_k x[b][k] * W[r][k] for rows r of panels [panel_begin, panel_end), b in [0, batch); the
/// order of the sum is that of matmul_float.cpp or matmul_int8.cpp. y: row b at y + b * y_stride, indexed by
/// the matrix's row, with room for whole panels (y_stride >= panels * kPanelRows).
void matmul(const PackedMatrix& w, const Activations& x, std::int64_t batch, float* y, std::int64_t y_stride,
            std::int64_t panel_begin, std::int64_t panel_end);

/// out[i] = x[i] / sqrt(mean(x^2) + eps) * weight[i], i in [0, n). out may be x.
void rms_norm(const float* x, const float* weight, std::int64_t n, float eps, float* out);

/// Rotates `heads` vectors of `head_dim` in place, two halves of the head as pairs (Hugging Face Llama).
/// cos, sin: [head_dim / 2] of the vector's position.
void rope(float* x, std::int64_t heads, std::int64_t head_dim, const float* cos, const float* sin);

/// gate[i] = act(gate[i]) * up[i]
void gated_activation(Activation activation, float* gate, const float* up, std::int64_t n);

/// x[i] += y[i]
void add(float* x, const float* y, std::int64_t n);
/// x[i] *= factor
void scale(float* x, float factor, std::int64_t n);

/// Largest logit (ties: lowest index) and the sum of exp((logit - max) * inverse_temperature) over n values.
struct BlockSum {
  float max;
  float sum;
};
BlockSum block_sum(const float* logits, std::int64_t n, float inverse_temperature);
/// Index of the largest value, ties to the lowest index; n >= 1.
std::int64_t argmax(const float* values, std::int64_t n);
/// True if all n values are finite.
bool all_finite(const float* values, std::int64_t n);

}  // namespace stagformer::internal
