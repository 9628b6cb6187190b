// Which configurations are possible; types and unknown keys have been dealt with before.
#include "base/config_check.hpp"

#include <algorithm>
#include <limits>
#include <set>
#include <string>

#include "base/config_json.hpp"

namespace stagformer::internal {
namespace {

/// Values of one matrix; keeps every byte count well inside 64 bits.
constexpr std::int64_t kLargestMatrix = std::int64_t{1} << 40;
constexpr std::int64_t kMostLayers = std::int64_t{1} << 16;

void at_least_one(const char* key, std::int64_t value) {
  if (value < 1) bad_value(key, "must be at least 1, found " + std::to_string(value));
}

/// Positive, and not zero when it is rounded to single precision.
void positive(const std::string& key, double value) {
  if (value < std::numeric_limits<float>::min())
    bad_value(key, "must be positive, found " + std::to_string(value));
}

void check_matrix(const char* what, std::int64_t rows, std::int64_t columns) {
  if (rows > kLargestMatrix / columns)
    throw ConfigError(std::string("configuration: ") + what + " of " + std::to_string(rows) + " x " +
                      std::to_string(columns) + " values is beyond what is supported (2^40 values)");
}

void check_widths(const ModelConfig& c) {
  at_least_one("vocab_size", c.vocab_size);
  at_least_one("hidden_size", c.hidden_size);
  at_least_one("intermediate_size", c.intermediate_size);
  at_least_one("num_attention_heads", c.num_attention_heads);
  at_least_one("num_key_value_heads", c.num_key_value_heads);
  at_least_one("head_dim", c.head_dim);
  at_least_one("max_position_embeddings", c.max_position_embeddings);
  if (c.num_attention_heads % c.num_key_value_heads != 0)
    bad_value("num_key_value_heads",
              "must divide num_attention_heads = " + std::to_string(c.num_attention_heads) + ", found " +
                  std::to_string(c.num_key_value_heads));
  if (c.head_dim % 2 != 0) bad_value("head_dim", "must be even, found " + std::to_string(c.head_dim));
  check_matrix("an embedding", c.vocab_size, c.hidden_size);
  check_matrix("a feed-forward matrix", c.intermediate_size, c.hidden_size);
  check_matrix("the heads' width", c.num_attention_heads, c.head_dim);
  check_matrix("an attention matrix", c.num_attention_heads * c.head_dim, c.hidden_size);
}

void check_numbers(const ModelConfig& c) {
  positive("rms_norm_eps", c.rms_norm_eps);
  positive("rope_theta", c.rope_theta);
  if (c.embedding_scale == 0) bad_value("embedding_scale", "must not be 0");
}

void check_rope_scaling(const RopeScaling& r) {
  positive("rope_scaling.factor", r.factor);
  if (r.type == RopeScaling::Type::linear) return;
  positive("rope_scaling.low_freq_factor", r.low_freq_factor);
  if (r.high_freq_factor <= r.low_freq_factor)
    bad_value("rope_scaling.high_freq_factor",
              "must be above rope_scaling.low_freq_factor = " + std::to_string(r.low_freq_factor) +
                  ", found " + std::to_string(r.high_freq_factor));
  at_least_one("rope_scaling.original_max_position_embeddings", r.original_max_position_embeddings);
}

void check_token(const char* key, std::int64_t id, std::int64_t vocab_size) {
  if (id < 0 || id >= vocab_size)
    bad_value(key, "must be a token id from 0 to " + std::to_string(vocab_size - 1) + ", found " +
                       std::to_string(id));
}

void check_tokens(const ModelConfig& c) {
  if (c.bos_token_id) check_token("bos_token_id", *c.bos_token_id, c.vocab_size);
  for (std::int64_t id : c.eos_token_ids) check_token("eos_token_id", id, c.vocab_size);
  if (c.add_bos && !c.bos_token_id) bad_value("add_bos", "is true, but there is no bos_token_id");
}

void check_layer_counts(const SectionsConfig& s) {
  const char* key = "sections.layers_per_section";
  std::int64_t total = 0;
  for (int layers : s.layers_per_section) {
    at_least_one(key, layers);
    total += layers;
  }
  if (total > kMostLayers)
    bad_value(key, "gives " + std::to_string(total) + " layers in all, at most 65536 are supported");
  const auto differs = [&](int layers) { return layers != s.layers_per_section.front(); };
  if (s.weights == SectionWeights::shared &&
      std::any_of(s.layers_per_section.begin(), s.layers_per_section.end(), differs))
    bad_value(key, "must be the same for all sections when sections.weights is 'shared'");
}

/// Layers of the largest section that could have a block: of the staggered ones, or of all where there are
/// none.
/// A shorter section simply has no block at the numbers that it lacks.
int layers_to_choose_from(const ModelConfig& c) {
  int staggered = 0, any = 0;
  for (int s = 0; s < c.sections.count; ++s) {
    any = std::max(any, c.sections.layers_per_section[s]);
    if (s > 0 && c.starts_from_embedding(s))
      staggered = std::max(staggered, c.sections.layers_per_section[s]);
  }
  return staggered > 0 ? staggered : any;
}

void check_cross_attention(const ModelConfig& c) {
  const CrossAttentionConfig& x = c.sections.cross_attention;
  if (x.window) at_least_one("sections.cross_attention.window", *x.window);
  if (x.lag != 0 && x.lag != 1)
    bad_value("sections.cross_attention.lag", "must be 0 or 1, found " + std::to_string(x.lag));
  if (x.all_layers) return;
  const char* key = "sections.cross_attention.layers";
  if (x.layers.empty())
    bad_value(key, "lists no layer; set sections.cross_attention.enabled to false instead");
  const int most = layers_to_choose_from(c);
  std::set<int> seen;
  for (int layer : x.layers) {
    if (layer < 0 || layer >= most)
      bad_value(key, "names layer " + std::to_string(layer) + ", but layers go from 0 to " +
                         std::to_string(most - 1));
    if (!seen.insert(layer).second) bad_value(key, "names layer " + std::to_string(layer) + " twice");
  }
}

}  // namespace

void check_config(const ModelConfig& c) {
  check_widths(c);
  check_numbers(c);
  if (c.rope_scaling) check_rope_scaling(*c.rope_scaling);
  check_tokens(c);
  check_layer_counts(c.sections);
  check_cross_attention(c);
}

}  // namespace stagformer::internal
