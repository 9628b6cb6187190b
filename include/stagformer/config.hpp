// The model's configuration: the JSON object stored in a checkpoint's `config` attribute.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace stagformer {

enum class Activation { silu, gelu_tanh };
enum class SectionWeights { separate, shared };
enum class Link { staggered, chained };
enum class Readout { last, linear_combination };
enum class PromptMemory { own, previous_pass };

/// RoPE frequency scaling as in Hugging Face configurations.
struct RopeScaling {
  enum class Type { linear, llama3 };
  Type type = Type::linear;
  double factor = 1;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  std::int64_t original_max_position_embeddings = 0;
};

struct CrossAttentionConfig {
  bool enabled = true;
  bool all_layers = true;
  std::vector<int> layers;             ///< used where all_layers is false; layer numbers from 0
  std::optional<std::int64_t> window;  ///< w in positions; nothing = unbounded
  int lag = 1;
  bool rope = true;
  bool memory_norm = true;

  /// The softmax over a window of one position is 1: queries and keys are never read.
  bool has_scores() const { return window != 1; }
};

struct SectionsConfig {
  int count = 1;                        ///< p
  std::vector<int> layers_per_section;  ///< h of every section, count entries
  SectionWeights weights = SectionWeights::separate;
  std::vector<Link> links;  ///< count - 1 entries; links[s] joins section s to s + 1
  Readout readout = Readout::last;
  CrossAttentionConfig cross_attention;
  PromptMemory prompt_memory = PromptMemory::previous_pass;
};

struct ModelConfig {
  std::int64_t vocab_size = 0;           ///< V
  std::int64_t hidden_size = 0;          ///< d
  std::int64_t intermediate_size = 0;    ///< f
  std::int64_t num_attention_heads = 0;  ///< H
  std::int64_t num_key_value_heads = 0;  ///< G
  std::int64_t head_dim = 0;             ///< a
  std::int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-5;
  double rope_theta = 10000;
  std::optional<RopeScaling> rope_scaling;
  Activation hidden_act = Activation::silu;
  bool tie_word_embeddings = true;
  bool attention_bias = false;
  bool qk_norm = false;  ///< RMSNorm of every query and key head in front of the rotation
  double embedding_scale = 1;
  std::optional<std::int64_t> bos_token_id;
  std::vector<std::int64_t> eos_token_ids;
  bool add_bos = false;
  SectionsConfig sections;

  /// Parses and checks; throws ConfigError that names the unknown, missing or impossible key by its dotted
  /// path.
  static ModelConfig from_json(std::string_view json);
  /// Every key, defaults included; from_json(to_json()) gives the same configuration.
  std::string to_json() const;

  /// Section s (from 0) starts from the token's embedding: the first, and every one behind a staggered link.
  bool starts_from_embedding(int section) const;
  /// Section s reads the memory of section s - 1 through cross-attention.
  bool has_memory(int section) const;
  /// Layer l of section s has a cross-attention block.
  bool has_cross_attention(int section, int layer) const;
  /// Empty where recurrent decoding is allowed, otherwise the reason why not.
  std::string recurrent_refusal() const;
  /// The same for tokens guessed by the last section alone and checked by all (any weights).
  std::string draft_refusal() const;

 private:
  std::string alone_refusal(const std::string& what) const;
};

}  // namespace stagformer
