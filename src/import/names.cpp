// Names of tensors in GGUF and in Hugging Face's models, beside those of the checkpoint.
#include <algorithm>

#include "import/source.hpp"

namespace stagformer::internal {
namespace {

constexpr const char* kOurPrefix = "layers/";

/// "PREFIX17SEPARATORrest" to (17, rest); the number is written without leading zeros.
struct LayerName {
  std::string number, rest;
};
LayerName split_layer(const std::string& name, const std::string& prefix, char separator) {
  if (!name.starts_with(prefix)) return {};
  const std::size_t end = name.find(separator, prefix.size());
  if (end == std::string::npos) return {};
  const std::string number = name.substr(prefix.size(), end - prefix.size());
  const bool digits = !number.empty() && number.size() < 8 &&
                      std::ranges::all_of(number, [](char c) { return c >= '0' && c <= '9'; });
  if (!digits || (number.size() > 1 && number[0] == '0')) return {};
  return {number, name.substr(end + 1)};
}

}  // namespace

std::string NameTable::ours(const std::string& source_name) const {
  for (const auto& [theirs, ours] : whole)
    if (source_name == theirs) return ours;
  const LayerName found = split_layer(source_name, layer_prefix, '.');
  for (const auto& [theirs, ours] : parts)
    if (!found.number.empty() && found.rest == theirs) return kOurPrefix + found.number + "/" + ours;
  return {};
}

std::string NameTable::theirs(const std::string& our_name) const {
  for (const auto& [theirs, ours] : whole)
    if (our_name == ours) return theirs;
  const LayerName found = split_layer(our_name, kOurPrefix, '/');
  for (const auto& [theirs, ours] : parts)
    if (!found.number.empty() && found.rest == ours) return layer_prefix + found.number + "." + theirs;
  return our_name;
}

const NameTable& gguf_names() {
  static const NameTable names{"blk.",
                               {{"attn_norm.weight", "self_attention/norm/weight"},
                                {"attn_q.weight", "self_attention/q/weight"},
                                {"attn_k.weight", "self_attention/k/weight"},
                                {"attn_v.weight", "self_attention/v/weight"},
                                {"attn_q.bias", "self_attention/q/bias"},
                                {"attn_k.bias", "self_attention/k/bias"},
                                {"attn_v.bias", "self_attention/v/bias"},
                                {"attn_q_norm.weight", "self_attention/q_norm/weight"},
                                {"attn_k_norm.weight", "self_attention/k_norm/weight"},
                                {"attn_output.weight", "self_attention/o/weight"},
                                {"attn_output.bias", "self_attention/o/bias"},
                                {"ffn_norm.weight", "feed_forward/norm/weight"},
                                {"ffn_gate.weight", "feed_forward/gate/weight"},
                                {"ffn_up.weight", "feed_forward/up/weight"},
                                {"ffn_down.weight", "feed_forward/down/weight"}},
                               {{"token_embd.weight", "embedding/weight"},
                                {"output_norm.weight", "final_norm/weight"},
                                {"output.weight", "head/weight"}}};
  return names;
}

const NameTable& huggingface_names() {
  static const NameTable names{"model.layers.",
                               {{"input_layernorm.weight", "self_attention/norm/weight"},
                                {"self_attn.q_proj.weight", "self_attention/q/weight"},
                                {"self_attn.k_proj.weight", "self_attention/k/weight"},
                                {"self_attn.v_proj.weight", "self_attention/v/weight"},
                                {"self_attn.q_proj.bias", "self_attention/q/bias"},
                                {"self_attn.k_proj.bias", "self_attention/k/bias"},
                                {"self_attn.v_proj.bias", "self_attention/v/bias"},
                                {"self_attn.q_norm.weight", "self_attention/q_norm/weight"},
                                {"self_attn.k_norm.weight", "self_attention/k_norm/weight"},
                                {"self_attn.o_proj.weight", "self_attention/o/weight"},
                                {"self_attn.o_proj.bias", "self_attention/o/bias"},
                                {"post_attention_layernorm.weight", "feed_forward/norm/weight"},
                                {"mlp.gate_proj.weight", "feed_forward/gate/weight"},
                                {"mlp.up_proj.weight", "feed_forward/up/weight"},
                                {"mlp.down_proj.weight", "feed_forward/down/weight"}},
                               {{"model.embed_tokens.weight", "embedding/weight"},
                                {"model.norm.weight", "final_norm/weight"},
                                {"lm_head.weight", "head/weight"}}};
  return names;
}

}  // namespace stagformer::internal
