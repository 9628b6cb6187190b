// The forward pass of a section's layers, called by every thread of a parallel region.
#pragma once

#include "model/batch.hpp"
#include "model/forward_context.hpp"

namespace stagformer::internal {

/// Runs all layers over the batch, in place: u [batch.size(), u_stride], d values a row. Rows of one sequence
/// come in ascending positions without gaps. Memory of every position that a row looks at must have been
/// absorbed into `memory_bank`. All threads have met when it returns.
void run_layers(const ForwardContext& context, const Batch& batch, float* u, std::int64_t u_stride,
                int memory_bank);

/// Projects upstream outputs y [batch.size(), y_stride] to every layer's cross-attention keys and values of
/// the batch's section (one). All threads have met when it returns.
void absorb_memory(const ForwardContext& context, const Batch& batch, const float* y, std::int64_t y_stride,
                   int memory_bank);

}  // namespace stagformer::internal
