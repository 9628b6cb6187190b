#include "model/scratch.hpp"

#include <algorithm>

namespace stagformer::internal {
namespace {

std::int64_t most_chunks(std::int64_t context) {
  return (context + kAttentionChunk - 1) / kAttentionChunk + 1;  // a window may begin and end inside a chunk
}

bool whole_blocks(std::int64_t columns) {
  return columns % kBlockValues == 0;
}

std::int64_t tile_queries(const ModelConfig& config) {
  return std::max<std::int64_t>(kTileQueries, config.num_attention_heads / config.num_key_value_heads);
}

/// Rows of a batch that may be attended to in pieces.
std::int64_t split_rows(const ModelConfig& config, std::int64_t rows, int threads) {
  if (threads == 1) return 0;
  return std::min(rows, kSplitItems * threads / config.num_key_value_heads + 1);
}

std::size_t count(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

}  // namespace

Operand::Operand(std::int64_t rows, std::int64_t columns)
    : columns_(columns),
      stride_(whole_panels(columns)),
      quantized_stride_(whole_blocks(columns) ? quantized_row_bytes(columns) : 0),
      values_(count(rows * stride_)),
      quantized_(count(rows * quantized_stride_)) {}

std::int64_t Operand::bytes(std::int64_t rows, std::int64_t columns) {
  return rows * (whole_panels(columns) * 4 + (whole_blocks(columns) ? quantized_row_bytes(columns) : 0));
}

void Operand::quantize(std::int64_t row, std::int64_t begin, std::int64_t end) {
  quantize_activations(values(row), begin / kBlockValues, end / kBlockValues, columns_,
                       quantized_.data() + row * quantized_stride_);
}

void Operand::quantize_from(const float* values, std::int64_t row) {
  quantize_activations(values, 0, columns_ / kBlockValues, columns_,
                       quantized_.data() + row * quantized_stride_);
}

Scratch::Scratch(const ModelConfig& config, std::int64_t rows, std::int64_t context, int threads)
    : head_stride(whole_panels(config.num_attention_heads * config.head_dim)),
      kv_stride(whole_panels(config.num_key_value_heads * config.head_dim)),
      chunks(most_chunks(context)),
      partial_floats(attention_partial_floats(config.head_dim)),
      normed(rows, config.hidden_size),
      q(count(rows * head_stride)),
      k{AlignedBuffer<float>(count(rows * kv_stride)), AlignedBuffer<float>(count(rows * kv_stride))},
      v{AlignedBuffer<float>(count(rows * kv_stride)), AlignedBuffer<float>(count(rows * kv_stride))},
      attended(rows, config.num_attention_heads * config.head_dim),
      projected(count(rows * whole_panels(config.hidden_size))),
      gate(rows, config.intermediate_size),
      up(count(rows * whole_panels(config.intermediate_size))),
      partials(
          count(split_rows(config, rows, threads) * config.num_attention_heads * chunks * partial_floats)),
      workers(count(threads)) {
  const std::int64_t tile = tile_queries(config);
  for (WorkerScratch& worker : workers) {
    worker.row_of_d = Operand(1, config.hidden_size);
    worker.row_of_heads = Operand(1, config.num_attention_heads * config.head_dim);
    worker.queries = AlignedBuffer<float>(count(tile * config.head_dim));
    worker.partials = AlignedBuffer<float>(count(tile * chunks * partial_floats));
    worker.query_of.resize(count(tile));
    worker.partial_of.resize(count(tile));
    worker.range_of.resize(count(tile));
  }
}

std::int64_t Scratch::bytes(const ModelConfig& config, std::int64_t rows, std::int64_t context, int threads) {
  const std::int64_t heads = config.num_attention_heads * config.head_dim;
  const std::int64_t partial = attention_partial_floats(config.head_dim) * 4;
  const std::int64_t floats = whole_panels(heads) +
                              4 * whole_panels(config.num_key_value_heads * config.head_dim) +
                              whole_panels(config.hidden_size) + whole_panels(config.intermediate_size);
  const std::int64_t shared =
      Operand::bytes(rows, config.hidden_size) + Operand::bytes(rows, heads) +
      Operand::bytes(rows, config.intermediate_size) + rows * floats * 4 +
      split_rows(config, rows, threads) * config.num_attention_heads * most_chunks(context) * partial;
  const std::int64_t own = Operand::bytes(1, config.hidden_size) + Operand::bytes(1, heads) +
                           tile_queries(config) * (config.head_dim * 4 + most_chunks(context) * partial);
  return shared + threads * own;
}

}  // namespace stagformer::internal
