#include "pipeline/tensor_parallel.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/cache_layout.hpp"
#include "pipeline/rank_part.hpp"
#include "pipeline/step_cost.hpp"

namespace stagformer::internal {
namespace {

constexpr int kSumsALayer = 2;

/// What a step of the decoder reads: its matrices, each with its format, and its caches.
struct Decoder {
  std::vector<const DatasetInfo*> matrices;
  double layers = 0, bytes = 0, cache_bytes = 0;
};

Decoder decoder_of(const CheckpointIndex& index, const EngineOptions& options, const BenchPoint& point) {
  const ModelConfig& config = index.config;
  Decoder decoder;
  const auto add = [&](const std::string& name) {
    decoder.matrices.push_back(&index.datasets.at(name));
    decoder.bytes += static_cast<double>(decoder.matrices.back()->bytes);
  };
  for (int s = 0; s < config.sections.count; ++s)
    for (int l = 0; l < config.sections.layers_per_section[static_cast<std::size_t>(s)];
         ++l, ++decoder.layers)
      for (const std::string& matrix : layer_matrices(config, s, l))
        if (!matrix.starts_with("cross_attention/")) add(layer_prefix(s, l) + matrix + "/weight");
  add(head_name(config));
  const std::int64_t position =
      2 * config.num_key_value_heads * config.head_dim * cache_number_bytes(options.cache_format);
  decoder.cache_bytes =
      decoder.layers * static_cast<double>(position * point.batch * (point.depth + point.decode / 2 + 1));
  decoder.bytes += decoder.cache_bytes;
  return decoder;
}

}  // namespace

double all_reduce_seconds(double bytes, int ranks, const LinkModel& link) {
  double doubling = 0, halving = 0, piece = bytes;
  for (int have = 1; have < ranks; have *= 2) {
    piece /= 2;
    doubling += link.latency_s(bytes);
    halving += 2 * link.latency_s(piece);
  }
  return std::min(doubling, halving);
}

double tensor_parallel_seconds(const CheckpointIndex& index, int ranks, const EngineOptions& options,
                               const BenchPoint& point, const Machine& machine) {
  const Decoder decoder = decoder_of(index, options, point);
  const auto rows = static_cast<double>(point.batch), share = 1.0 / ranks;
  double seconds = 0;
  for (const DatasetInfo* matrix : decoder.matrices) {
    seconds += static_cast<double>(matrix->bytes) * share *
               machine.speed_of(matrix->format).together.seconds_per_byte(decoder.bytes * share, rows);
  }
  seconds += machine.cache_s_per_byte * decoder.cache_bytes * share;
  // norms and meetings are every rank's own
  const double a_row =
      machine.layer_row_s * static_cast<double>(index.config.hidden_size) / Machine::kRowWidth;
  seconds += (machine.layer_s + a_row * (rows - 1)) * decoder.layers;
  seconds += machine.choice_s +
             machine.choice_s_per_token * static_cast<double>(index.config.vocab_size) * share * rows;
  const StepMessages messages = messages_of(index.config, options, point.batch, point.batch);
  seconds += kSumsALayer * decoder.layers * all_reduce_seconds(messages.hidden, ranks, machine.link);
  double record = messages.record;
  for (int have = 1; have < ranks; have *= 2, record *= 2) seconds += machine.link.latency_s(record);
  return seconds;
}

}  // namespace stagformer::internal
