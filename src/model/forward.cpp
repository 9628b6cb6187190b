#include "model/forward.hpp"

#include "base/check.hpp"
#include "model/attention_block.hpp"
#include "model/products.hpp"
#include "model/section.hpp"

namespace stagformer::internal {
namespace {

void self_attention(const ForwardContext& context, const Batch& batch, float* u, std::int64_t u_stride,
                    std::size_t layer) {
  const PhaseScope phase(context.leaders_clock(), Phase::self_attention);
  const AttentionWeights& w = batch.sections[0]->weights().layers[layer].self_attention;
  Scratch& scratch = context.scratch;
  const std::int64_t n = batch.size();
  const Activations x = normalize(context, u, u_stride, w.norm, n, any_quantized({&w.q, &w.k, &w.v}));
  multiply(context,
           {{w.q, w.q_bias, scratch.q.data(), scratch.head_stride},
            {w.k, w.k_bias, scratch.k[0].data(), scratch.kv_stride},
            {w.v, w.v_bias, scratch.v[0].data(), scratch.kv_stride}},
           x, n);
  context.worker.meet();
  const AttentionSource source{layer};
  store(context, batch, source, scratch.k[0].data(), scratch.v[0].data());
  context.worker.meet();
  const Activations attended = attend(context, batch, source, any_quantized({&w.o}));
  add_product(context, w.o, attended, n, u, u_stride);
}

/// One section's rows.
void cross_attention(const ForwardContext& context, const Batch& batch, float* u, std::int64_t u_stride,
                     std::size_t layer, int bank) {
  const PhaseScope phase(context.leaders_clock(), Phase::cross_attention);
  const AttentionWeights& w = *batch.sections[0]->weights().layers[layer].cross_attention;
  const std::int64_t n = batch.size();
  const AttentionSource source{layer, bank, context.config.sections.cross_attention.rope};
  if (batch.sections[0]->single_position())
    return add_product(context, w.o, copy_single_values(context, batch, source, any_quantized({&w.o})), n, u,
                       u_stride);
  const Activations x = normalize(context, u, u_stride, w.norm, n, any_quantized({&w.q}));
  multiply(context, {{w.q, w.q_bias, context.scratch.q.data(), context.scratch.head_stride}}, x, n);
  context.worker.meet();
  const Activations attended = attend(context, batch, source, any_quantized({&w.o}));
  add_product(context, w.o, attended, n, u, u_stride);
}

void cross_attentions(const ForwardContext& context, const Batch& batch, float* u, std::int64_t u_stride,
                      std::size_t layer, int bank) {
  for (std::size_t s = 0; s < batch.sections.size(); ++s)
    if (batch.sections[s]->weights().layers[layer].cross_attention)
      cross_attention(context, batch.only(s), u + static_cast<std::int64_t>(s * batch.rows.size()) * u_stride,
                      u_stride, layer, bank);
}

/// Every thread takes the same panels of gate and up, so that it can go on to their product by itself.
void feed_forward(const ForwardContext& context, const Batch& batch, float* u, std::int64_t u_stride,
                  std::size_t layer) {
  const PhaseScope phase(context.leaders_clock(), Phase::feed_forward);
  const FeedForwardWeights& w = batch.sections[0]->weights().layers[layer].feed_forward;
  const std::int64_t n = batch.size();
  const Activations x = normalize(context, u, u_stride, w.norm, n, any_quantized({&w.gate, &w.up}));
  Operand& gate = context.scratch.gate;
  float* up = context.scratch.up.data();
  const std::int64_t stride = gate.stride();
  const auto [first, last] = context.worker.share(w.gate.panels());
  if (first < last) {
    matmul(w.gate, x, n, gate.values(0), stride, first, last);
    matmul(w.up, x, n, up, stride, first, last);
    const std::int64_t begin = first * kPanelRows, end = std::min(last * kPanelRows, w.gate.rows);
    for (std::int64_t b = 0; b < n; ++b) {
      gated_activation(context.config.hidden_act, gate.values(b) + begin, up + b * stride + begin,
                       end - begin);
      if (any_quantized({&w.down})) gate.quantize(b, begin, end);
    }
  }
  context.worker.meet();
  add_product(context, w.down, gate.view(), n, u, u_stride);
}

/// Upstream outputs as the operand of the key and value projections: normalised where the model says so.
Activations memory_operand(const ForwardContext& context, const SectionWeights& weights, const float* y,
                           std::int64_t y_stride, std::int64_t n) {
  bool quantize = false;
  for (const LayerWeights& layer : weights.layers)
    if (layer.cross_attention)
      quantize = quantize || any_quantized({&layer.cross_attention->k, &layer.cross_attention->v});
  if (!weights.memory_norm.empty()) return normalize(context, y, y_stride, weights.memory_norm, n, quantize);
  return as_operand(context, y, y_stride, n, quantize);
}

}  // namespace

void run_layers(const ForwardContext& context, const Batch& batch, float* u, std::int64_t u_stride,
                int memory_bank) {
  for (std::size_t l = 0; l < batch.sections[0]->layers(); ++l) {
    self_attention(context, batch, u, u_stride, l);
    cross_attentions(context, batch, u, u_stride, l, memory_bank);
    feed_forward(context, batch, u, u_stride, l);
    if (context.hook && context.worker.leads()) context.hook->between_layers();
  }
}

void absorb_memory(const ForwardContext& context, const Batch& batch, const float* y, std::int64_t y_stride,
                   int memory_bank) {
  const PhaseScope phase(context.leaders_clock(), Phase::memory_projection);
  STAG_DCHECK(batch.sections.size() == 1, batch.sections.size());
  const SectionWeights& weights = batch.sections[0]->weights();
  const bool values_only = batch.sections[0]->single_position();
  const std::int64_t n = batch.size();
  Scratch& scratch = context.scratch;
  const Activations memory = memory_operand(context, weights, y, y_stride, n);
  int turn = 0;  // a slower thread may still be storing the layer before
  for (std::size_t l = 0; l < weights.layers.size(); ++l) {
    if (!weights.layers[l].cross_attention) continue;
    const AttentionWeights& w = *weights.layers[l].cross_attention;
    float *k = scratch.k[turn].data(), *v = scratch.v[turn].data();
    turn = 1 - turn;
    if (values_only)
      multiply(context, {{w.v, w.v_bias, v, scratch.kv_stride}}, memory, n);
    else
      multiply(context, {{w.k, w.k_bias, k, scratch.kv_stride}, {w.v, w.v_bias, v, scratch.kv_stride}},
               memory, n);
    context.worker.meet();
    store(context, batch, {l, memory_bank, context.config.sections.cross_attention.rope},
          values_only ? nullptr : k, v);
  }
  context.worker.meet();
}

}  // namespace stagformer::internal
