#include "model/section.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/kernels.hpp"

namespace stagformer::internal {
namespace {

std::int64_t whole_panels(std::int64_t n) {
  return (n + kPanelRows - 1) / kPanelRows * kPanelRows;
}

/// Positions that a memory cache keeps: the window and the rows that may be absorbed before the first of them
/// is used.
std::int64_t memory_capacity(const ModelConfig& config, const SectionCapacity& capacity) {
  const auto& window = config.sections.cross_attention.window;
  return window ? std::min(capacity.context, *window + capacity.rows) : capacity.context;
}

bool keeps_keys(const ModelConfig& config) {
  return config.sections.cross_attention.window.value_or(0) != 1;
}

void add_bias(const std::vector<float>& bias, std::int64_t rows, float* y, std::int64_t stride) {
  if (bias.empty()) return;
  for (std::int64_t b = 0; b < rows; ++b)
    add(y + b * stride, bias.data(), static_cast<std::int64_t>(bias.size()));
}

/// y = W x for all rows, panels dealt to the threads.
void project(const Workshop& shop, const PackedMatrix& w, const float* x, std::int64_t x_stride,
             std::int64_t rows, float* y, std::int64_t y_stride) {
  shop.team.for_ranges(w.panels(), w.rows * w.columns * rows, [&](std::int64_t begin, std::int64_t end) {
    matmul(w, x, x_stride, rows, y, y_stride, begin, end);
  });
}

void normalize(const Workshop& shop, const float* x, std::int64_t x_stride, const std::vector<float>& weight,
               std::int64_t rows, float* out, std::int64_t out_stride) {
  const auto d = static_cast<std::int64_t>(weight.size());
  const auto eps = static_cast<float>(shop.config.rms_norm_eps);
  shop.team.for_ranges(rows, rows * d, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b)
      rms_norm(x + b * x_stride, weight.data(), d, eps, out + b * out_stride);
  });
}

void add_rows(const Workshop& shop, float* u, std::int64_t u_stride, const float* y, std::int64_t y_stride,
              std::int64_t rows) {
  for (std::int64_t b = 0; b < rows; ++b) add(u + b * u_stride, y + b * y_stride, shop.config.hidden_size);
}

/// Rotates and copies the new keys and values of the rows into a cache.
void store(const Workshop& shop, const SectionScratch& scratch, std::span<const Row> rows, float* keys,
           const float* values, bool rotate, KvCache& cache) {
  const std::int64_t a = shop.config.head_dim, heads = shop.config.num_key_value_heads;
  for (std::size_t b = 0; b < rows.size(); ++b) {
    const Row& row = rows[b];
    const std::int64_t at = static_cast<std::int64_t>(b) * scratch.kv_stride;
    if (keys && rotate) rope(keys + at, heads, a, shop.rope.cos(row.position), shop.rope.sin(row.position));
    for (std::int64_t g = 0; g < heads; ++g) {
      if (keys) cache.store_key(row.slot, g, row.position, keys + at + g * a);
      cache.store_value(row.slot, g, row.position, values + at + g * a);
    }
  }
}

void rotate_queries(const Workshop& shop, SectionScratch& scratch, std::span<const Row> rows) {
  for (std::size_t b = 0; b < rows.size(); ++b)
    rope(scratch.q.data() + static_cast<std::int64_t>(b) * scratch.head_stride,
         shop.config.num_attention_heads, shop.config.head_dim, shop.rope.cos(rows[b].position),
         shop.rope.sin(rows[b].position));
}

/// attended = softmax(q K^T / sqrt(a)) V for every row and head; an empty range gives zero. range(row) ->
/// {begin, end}.
template <typename Range>
void attend_rows(const Workshop& shop, SectionScratch& scratch, std::span<const Row> rows,
                 const KvCache& cache, const Range& range) {
  const std::int64_t heads = shop.config.num_attention_heads, a = shop.config.head_dim;
  const std::int64_t group = heads / shop.config.num_key_value_heads;
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(a)));
  std::int64_t work = 0;  // a product with the keys and one with the values
  for (const Row& row : rows) work += 2 * heads * a * (range(row).end - range(row).begin);
  shop.team.for_ranges(
      static_cast<std::int64_t>(rows.size()) * heads, work, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t item = begin; item < end; ++item) {
          const std::int64_t b = item / heads, head = item % heads;
          const Row& row = rows[static_cast<std::size_t>(b)];
          const auto positions = range(row);
          const std::int64_t at = b * scratch.head_stride + head * a;
          attend(cache.span(row.slot, head / group), a, scale, scratch.q.data() + at,
                 {positions.begin, positions.end}, scratch.attended.data() + at);
        }
      });
}

/// attended = the value at the one position looked at (window 1); nothing there gives zero.
template <typename Range>
void copy_single_values(const Workshop& shop, SectionScratch& scratch, std::span<const Row> rows,
                        KvCache& cache, const Range& range) {
  const std::int64_t heads = shop.config.num_attention_heads, a = shop.config.head_dim;
  const std::int64_t group = heads / shop.config.num_key_value_heads;
  for (std::size_t b = 0; b < rows.size(); ++b) {
    const auto positions = range(rows[b]);
    float* out = scratch.attended.data() + static_cast<std::int64_t>(b) * scratch.head_stride;
    for (std::int64_t head = 0; head < heads; ++head)
      if (positions.begin >= positions.end)
        std::fill_n(out + head * a, a, 0.0F);
      else
        cache.load_value(rows[b].slot, head / group, positions.begin, out + head * a);
  }
}

}  // namespace

SectionScratch::SectionScratch(const ModelConfig& config, std::int64_t rows)
    : d_stride(whole_panels(config.hidden_size)),
      head_stride(whole_panels(config.num_attention_heads * config.head_dim)),
      kv_stride(whole_panels(config.num_key_value_heads * config.head_dim)),
      f_stride(whole_panels(config.intermediate_size)),
      normed(static_cast<std::size_t>(rows * d_stride)),
      q(static_cast<std::size_t>(rows * head_stride)),
      attended(static_cast<std::size_t>(rows * head_stride)),
      k(static_cast<std::size_t>(rows * kv_stride)),
      v(static_cast<std::size_t>(rows * kv_stride)),
      projected(static_cast<std::size_t>(rows * d_stride)),
      gate(static_cast<std::size_t>(rows * f_stride)),
      up(static_cast<std::size_t>(rows * f_stride)) {}

std::int64_t SectionScratch::bytes(const ModelConfig& config, std::int64_t rows) {
  const std::int64_t floats = 2 * whole_panels(config.hidden_size) +
                              2 * whole_panels(config.num_attention_heads * config.head_dim) +
                              2 * whole_panels(config.num_key_value_heads * config.head_dim) +
                              2 * whole_panels(config.intermediate_size);
  return rows * floats * static_cast<std::int64_t>(sizeof(float));
}

Section::Section(const ModelConfig& config, int index, const SectionWeights& weights,
                 const SectionCapacity& capacity)
    : index_(index),
      has_memory_(config.has_memory(index)),
      single_position_(!keeps_keys(config)),
      window_(config.sections.cross_attention.window.value_or(capacity.context)),
      weights_(weights) {
  const std::int64_t heads = config.num_key_value_heads, a = config.head_dim;
  for (std::size_t l = 0; l < weights.layers.size(); ++l)
    self_caches_.emplace_back(capacity.slots, heads, capacity.context, a, true);
  if (!has_memory_) return;
  memory_caches_.resize(static_cast<std::size_t>(capacity.memory_banks));
  for (auto& bank : memory_caches_)
    for (const LayerWeights& layer : weights.layers)
      bank.push_back(layer.cross_attention ? KvCache(capacity.slots, heads, memory_capacity(config, capacity),
                                                     a, keeps_keys(config))
                                           : KvCache());
}

std::int64_t Section::cache_bytes(const ModelConfig& config, int index, const SectionCapacity& capacity) {
  const std::int64_t heads = config.num_key_value_heads, a = config.head_dim;
  const int layers = config.sections.layers_per_section[static_cast<std::size_t>(index)];
  std::int64_t bytes = layers * KvCache::bytes(capacity.slots, heads, capacity.context, a, true);
  for (int l = 0; l < layers; ++l)
    if (config.has_cross_attention(index, l))
      bytes +=
          capacity.memory_banks *
          KvCache::bytes(capacity.slots, heads, memory_capacity(config, capacity), a, keeps_keys(config));
  return bytes;
}

void Section::run(Workshop& shop, SectionScratch& scratch, std::span<const Row> rows, float* u,
                  std::int64_t u_stride, int memory_bank) {
  for (std::size_t l = 0; l < weights_.layers.size(); ++l) {
    self_attention(shop, scratch, rows, u, u_stride, l);
    if (weights_.layers[l].cross_attention) cross_attention(shop, scratch, rows, u, u_stride, l, memory_bank);
    feed_forward(shop, scratch, rows, u, u_stride, l);
    if (shop.hook) shop.hook->between_layers();
  }
}

void Section::self_attention(Workshop& shop, SectionScratch& scratch, std::span<const Row> rows, float* u,
                             std::int64_t u_stride, std::size_t layer) {
  const PhaseScope phase(shop.clock, Phase::self_attention);
  const AttentionWeights& w = weights_.layers[layer].self_attention;
  const auto n = static_cast<std::int64_t>(rows.size());
  normalize(shop, u, u_stride, w.norm, n, scratch.normed.data(), scratch.d_stride);
  project(shop, w.q, scratch.normed.data(), scratch.d_stride, n, scratch.q.data(), scratch.head_stride);
  project(shop, w.k, scratch.normed.data(), scratch.d_stride, n, scratch.k.data(), scratch.kv_stride);
  project(shop, w.v, scratch.normed.data(), scratch.d_stride, n, scratch.v.data(), scratch.kv_stride);
  add_bias(w.q_bias, n, scratch.q.data(), scratch.head_stride);
  add_bias(w.k_bias, n, scratch.k.data(), scratch.kv_stride);
  add_bias(w.v_bias, n, scratch.v.data(), scratch.kv_stride);
  rotate_queries(shop, scratch, rows);
  store(shop, scratch, rows, scratch.k.data(), scratch.v.data(), true, self_caches_[layer]);
  attend_rows(shop, scratch, rows, self_caches_[layer], [](const Row& row) {
    return MemoryRange{0, row.position + 1};
  });
  project(shop, w.o, scratch.attended.data(), scratch.head_stride, n, scratch.projected.data(),
          scratch.d_stride);
  add_rows(shop, u, u_stride, scratch.projected.data(), scratch.d_stride, n);
}

void Section::cross_attention(Workshop& shop, SectionScratch& scratch, std::span<const Row> rows, float* u,
                              std::int64_t u_stride, std::size_t layer, int memory_bank) {
  const PhaseScope phase(shop.clock, Phase::cross_attention);
  const AttentionWeights& w = *weights_.layers[layer].cross_attention;
  const auto n = static_cast<std::int64_t>(rows.size());
  const int lag = shop.config.sections.cross_attention.lag;
  const auto range = [&](const Row& row) {
    const std::int64_t end = row.position + 1 - lag;
    return MemoryRange{std::max<std::int64_t>(0, end - window_), end};
  };
  KvCache& cache = memory_caches_[static_cast<std::size_t>(memory_bank)][layer];
  if (single_position_) {
    copy_single_values(shop, scratch, rows, cache, range);
  } else {
    normalize(shop, u, u_stride, w.norm, n, scratch.normed.data(), scratch.d_stride);
    project(shop, w.q, scratch.normed.data(), scratch.d_stride, n, scratch.q.data(), scratch.head_stride);
    add_bias(w.q_bias, n, scratch.q.data(), scratch.head_stride);
    if (shop.config.sections.cross_attention.rope) rotate_queries(shop, scratch, rows);
    attend_rows(shop, scratch, rows, cache, range);
  }
  project(shop, w.o, scratch.attended.data(), scratch.head_stride, n, scratch.projected.data(),
          scratch.d_stride);
  add_rows(shop, u, u_stride, scratch.projected.data(), scratch.d_stride, n);
}

void Section::feed_forward(Workshop& shop, SectionScratch& scratch, std::span<const Row> rows, float* u,
                           std::int64_t u_stride, std::size_t layer) {
  const PhaseScope phase(shop.clock, Phase::feed_forward);
  const FeedForwardWeights& w = weights_.layers[layer].feed_forward;
  const auto n = static_cast<std::int64_t>(rows.size());
  normalize(shop, u, u_stride, w.norm, n, scratch.normed.data(), scratch.d_stride);
  project(shop, w.gate, scratch.normed.data(), scratch.d_stride, n, scratch.gate.data(), scratch.f_stride);
  project(shop, w.up, scratch.normed.data(), scratch.d_stride, n, scratch.up.data(), scratch.f_stride);
  for (std::int64_t b = 0; b < n; ++b)
    gated_activation(shop.config.hidden_act, scratch.gate.data() + b * scratch.f_stride,
                     scratch.up.data() + b * scratch.f_stride, shop.config.intermediate_size);
  project(shop, w.down, scratch.gate.data(), scratch.f_stride, n, scratch.projected.data(), scratch.d_stride);
  add_rows(shop, u, u_stride, scratch.projected.data(), scratch.d_stride, n);
}

void Section::absorb_memory(Workshop& shop, SectionScratch& scratch, std::span<const Row> rows,
                            const float* y, std::int64_t y_stride, int memory_bank) {
  const PhaseScope phase(shop.clock, Phase::memory_projection);
  const auto n = static_cast<std::int64_t>(rows.size());
  const float* memory = y;
  std::int64_t stride = y_stride;
  if (!weights_.memory_norm.empty()) {
    normalize(shop, y, y_stride, weights_.memory_norm, n, scratch.normed.data(), scratch.d_stride);
    memory = scratch.normed.data();
    stride = scratch.d_stride;
  }
  for (std::size_t l = 0; l < weights_.layers.size(); ++l) {
    if (!weights_.layers[l].cross_attention) continue;
    const AttentionWeights& w = *weights_.layers[l].cross_attention;
    if (!single_position_) {
      project(shop, w.k, memory, stride, n, scratch.k.data(), scratch.kv_stride);
      add_bias(w.k_bias, n, scratch.k.data(), scratch.kv_stride);
    }
    project(shop, w.v, memory, stride, n, scratch.v.data(), scratch.kv_stride);
    add_bias(w.v_bias, n, scratch.v.data(), scratch.kv_stride);
    store(shop, scratch, rows, single_position_ ? nullptr : scratch.k.data(), scratch.v.data(),
          shop.config.sections.cross_attention.rope,
          memory_caches_[static_cast<std::size_t>(memory_bank)][l]);
  }
}

}  // namespace stagformer::internal
