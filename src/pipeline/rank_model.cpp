#include "pipeline/rank_model.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "base/host_info.hpp"
#include "kernels/packed_matrix.hpp"
#include "model/scratch.hpp"
#include "model/section.hpp"

namespace stagformer::internal {

RankModel::RankModel(const CheckpointIndex& index, const RankPart& part, TensorReader& reader,
                     const ThreadTeam& team, const Progress& progress)
    : config_(index.config), part_(part), weights_(load_weights(index, part_, reader, team, progress)) {}

RankModel::RankModel(const CheckpointIndex& index, const RankPart& part)
    : config_(index.config), part_(part) {
  for (int s = part.first_section; s < part.first_section + part.sections; ++s) {
    SectionWeights& section = weights_.sections.emplace_back();
    section.layers.resize(
        static_cast<std::size_t>(config_.sections.layers_per_section[static_cast<std::size_t>(s)]));
    for (std::size_t l = 0; l < section.layers.size(); ++l)
      if (config_.has_cross_attention(s, static_cast<int>(l))) section.layers[l].cross_attention.emplace();
  }
  weights_.final_norm.assign(static_cast<std::size_t>(config_.hidden_size), 1);
  if (config_.sections.readout == Readout::linear_combination)
    weights_.readout_coefficients.assign(static_cast<std::size_t>(config_.sections.count), 1);
}

std::string MemoryPlan::text(const EngineOptions& options) const {
  return "the plan needs " + format_bytes(total()) + " (weights " + format_bytes(weights) + ", embedding " +
         format_bytes(embedding) + ", caches of " + std::to_string(options.slots) + " sequences of " +
         std::to_string(options.context) + " positions " + format_bytes(caches) + ", buffers " +
         format_bytes(buffers) + ", loading " + format_bytes(staging) + ")";
}

MemoryPlan RankModel::plan(const CheckpointIndex& index, const RankPart& part, const EngineOptions& options) {
  const ModelConfig& config = index.config;
  MemoryPlan plan;
  for (const std::string& name : matrix_names(index, part)) {
    const DatasetInfo& data = index.datasets.at(name);
    plan.weights += packed_bytes(data.format, data.rows(), data.columns());
  }
  const DatasetInfo& head = index.datasets.at(head_name(config));
  plan.weights += packed_bytes(head.format, head_rows(config, part).count(), head.columns());
  if (keeps_embedding_rows(config, part)) plan.embedding = index.datasets.at(kEmbeddingName).bytes;
  plan.staging = staging_bytes(index, part, options.threads);

  if (options.emulated) plan.weights = plan.embedding = plan.staging = 0;

  const bool both_banks =
      options.decode == DecodeMode::recurrent && config.sections.prompt_memory == PromptMemory::own;
  const SectionCapacity capacity{options.slots, options.context, options.pass_rows(), both_banks ? 2 : 1,
                                 options.cache_format};
  for (int s = part.first_section; s < part.first_section + part.sections; ++s)
    plan.caches += Section::cache_bytes(config, s, capacity);
  const std::int64_t readouts = options.readout_rows();
  const auto floats = static_cast<std::int64_t>(sizeof(float));
  // Sections with the same weights do a step as one batch.
  const std::int64_t stacked = std::max<std::int64_t>(capacity.rows, options.slots * part.sections);
  plan.buffers = Scratch::bytes(config, stacked, options.context, options.threads) +
                 6 * stacked * config.hidden_size * floats +
                 readouts * (part.slice.rows() + config.hidden_size * 3) * floats;
  return plan;
}

}  // namespace stagformer::internal
