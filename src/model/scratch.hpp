// Memory for intermediate values, taken once for the largest batch: what the threads of a rank share, and a
// part of its own for each thread.
#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "kernels/attention.hpp"
#include "kernels/kernels.hpp"
#include "stagformer/config.hpp"

namespace stagformer::internal {

/// n rounded up to whole panels: the stride of rows that a product writes.
inline std::int64_t whole_panels(std::int64_t n) {
  return (n + kPanelRows - 1) / kPanelRows * kPanelRows;
}

/// Rows that a product reads: f32 and, for block formats, quantised beside them.
class Operand {
 public:
  Operand() = default;
  Operand(std::int64_t rows, std::int64_t columns);
  static std::int64_t bytes(std::int64_t rows, std::int64_t columns);

  std::int64_t stride() const { return stride_; }
  float* values(std::int64_t row) { return values_.data() + row * stride_; }
  /// Quantises the blocks of 32 that lie in columns [begin, end) of a row; begin is a multiple of 32.
  void quantize(std::int64_t row, std::int64_t begin, std::int64_t end);
  void quantize(std::int64_t row) { quantize(row, 0, columns_); }
  /// The same from values that lie elsewhere.
  void quantize_from(const float* values, std::int64_t row);
  Activations view() const { return {values_.data(), stride_, quantized_.data(), quantized_stride_}; }

 private:
  std::int64_t columns_ = 0, stride_ = 0, quantized_stride_ = 0;
  AlignedBuffer<float> values_;  // [rows, stride], columns used
  AlignedBuffer<std::byte>
      quantized_;  // [rows, quantized_stride]; empty where the columns are no whole blocks
};

/// Queries that one thread attends with at a time, all of one key/value head.
inline constexpr std::int64_t kTileQueries = 32;

/// One thread's own.
struct WorkerScratch {
  Operand row_of_d, row_of_heads;  ///< a batch of one row is prepared by every thread for itself
  AlignedBuffer<float> queries;    ///< [tile, head_dim], rotated
  AlignedBuffer<float> partials;   ///< [tile, chunks, attention_partial_floats]
  std::vector<const float*> query_of;
  std::vector<float*> partial_of;
  std::vector<PositionRange> range_of;
};

/// Attention is split over chunks of positions where a step has fewer (row, head) pairs than this, a thread.
inline constexpr std::int64_t kSplitItems = 4;

struct Scratch {
  /// rows: most rows of a batch, times sections that run together; context: positions a sequence.
  Scratch(const ModelConfig& config, std::int64_t rows, std::int64_t context, int threads);
  static std::int64_t bytes(const ModelConfig& config, std::int64_t rows, std::int64_t context, int threads);

  std::int64_t head_stride, kv_stride, chunks, partial_floats;
  Operand normed;                   ///< [rows, d]
  AlignedBuffer<float> q;           ///< [rows, head_stride], H*a used
  AlignedBuffer<float> k[2], v[2];  ///< [rows, kv_stride], G*a used; in turn, so that one may still be read
  Operand attended;                 ///< [rows, H*a]
  AlignedBuffer<float> projected;   ///< [rows, whole panels of d]
  Operand gate;                     ///< [rows, f]
  AlignedBuffer<float> up;          ///< [rows, whole panels of f]
  AlignedBuffer<float> partials;    ///< split attention: [row, head, chunk, partial_floats]
  std::vector<WorkerScratch> workers;
};

}  // namespace stagformer::internal
