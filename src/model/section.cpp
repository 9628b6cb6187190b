#include "model/section.hpp"

namespace stagformer::internal {
namespace {

/// Positions that a memory cache keeps: the window and the rows that may be absorbed before the first of them
/// is used.
std::int64_t memory_capacity(const ModelConfig& config, const SectionCapacity& capacity) {
  const auto& window = config.sections.cross_attention.window;
  return window ? std::min(capacity.context, *window + capacity.rows) : capacity.context;
}

bool same(const PackedMatrix& a, const PackedMatrix& b) {
  return a.data == b.data && a.rows == b.rows;
}

bool same(const AttentionWeights& a, const AttentionWeights& b) {
  return same(a.q, b.q) && same(a.k, b.k) && same(a.v, b.v) && same(a.o, b.o) && a.norm == b.norm &&
         a.q_bias == b.q_bias && a.k_bias == b.k_bias && a.v_bias == b.v_bias &&
         a.q_norm == b.q_norm && a.k_norm == b.k_norm;
}

bool same(const FeedForwardWeights& a, const FeedForwardWeights& b) {
  return same(a.gate, b.gate) && same(a.up, b.up) && same(a.down, b.down) && a.norm == b.norm;
}

bool same(const LayerWeights& a, const LayerWeights& b) {
  return same(a.self_attention, b.self_attention) && same(a.feed_forward, b.feed_forward);
}

}  // namespace

Section::Section(const ModelConfig& config, int index, const SectionWeights& weights,
                 const SectionCapacity& capacity)
    : index_(index),
      has_memory_(config.has_memory(index)),
      single_position_(!config.sections.cross_attention.has_scores()),
      lag_(config.sections.cross_attention.lag),
      window_(config.sections.cross_attention.window.value_or(capacity.context)),
      weights_(weights) {
  const std::int64_t heads = config.num_key_value_heads, a = config.head_dim;
  for (std::size_t l = 0; l < weights.layers.size(); ++l)
    self_caches_.emplace_back(capacity.slots, heads, capacity.context, a, true, capacity.format);
  if (!has_memory_) return;
  memory_caches_.resize(static_cast<std::size_t>(capacity.memory_banks));
  for (auto& bank : memory_caches_)
    for (const LayerWeights& layer : weights.layers)
      bank.push_back(layer.cross_attention
                         ? KvCache(capacity.slots, heads, memory_capacity(config, capacity), a,
                                   config.sections.cross_attention.has_scores(), capacity.format)
                         : KvCache());
}

std::int64_t Section::cache_bytes(const ModelConfig& config, int index, const SectionCapacity& capacity) {
  const std::int64_t heads = config.num_key_value_heads, a = config.head_dim;
  const int layers = config.sections.layers_per_section[static_cast<std::size_t>(index)];
  std::int64_t bytes =
      layers * KvCache::bytes(capacity.slots, heads, capacity.context, a, true, capacity.format);
  for (int l = 0; l < layers; ++l)
    if (config.has_cross_attention(index, l))
      bytes += capacity.memory_banks *
               KvCache::bytes(capacity.slots, heads, memory_capacity(config, capacity), a,
                              config.sections.cross_attention.has_scores(), capacity.format);
  return bytes;
}

MemoryReach Section::reach(const ModelConfig& config, const SectionCapacity& capacity) {
  return {cache_capacity(memory_capacity(config, capacity)),
          config.sections.cross_attention.window.value_or(capacity.context)};
}

void Section::copy_prefix(int from, int to, std::int64_t positions, std::int64_t written) {
  for (KvCache& cache : self_caches_) cache.copy_prefix(from, to, positions, written);
  for (std::vector<KvCache>& bank : memory_caches_)
    for (KvCache& cache : bank) cache.copy_prefix(from, to, positions, written);
}

bool same_weights(const SectionWeights& a, const SectionWeights& b) {
  if (a.layers.size() != b.layers.size()) return false;
  for (std::size_t l = 0; l < a.layers.size(); ++l)
    if (!same(a.layers[l], b.layers[l])) return false;
  return true;
}

}  // namespace stagformer::internal
