#include "pipeline/benchmark_cost.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "kernels/cache_layout.hpp"
#include "pipeline/section_groups.hpp"

namespace stagformer::internal {
namespace {

/// Name and place of everything that a section holds: names are sorted, so that its datasets lie side by
/// side.
template <typename Visit>
void for_datasets(const CheckpointIndex& index, int section, const Visit& visit) {
  const std::string prefix = "sections/" + std::to_string(section) + "/";
  for (auto at = index.datasets.lower_bound(prefix);
       at != index.datasets.end() && at->first.starts_with(prefix); ++at)
    visit(at->first, at->second);
}

/// With a window of one position there are no scores: queries and keys of cross-attention are never read.
bool is_read(const ModelConfig& config, const std::string& name) {
  if (config.sections.cross_attention.has_scores()) return true;
  return name.find("/cross_attention/q/") == std::string::npos &&
         name.find("/cross_attention/k/") == std::string::npos;
}

std::int64_t rows_of_head(const ModelConfig& config, const RankPart& part) {
  if (!part.any_head) return 0;
  return part.whole_head ? config.vocab_size : part.slice.rows();
}

std::int64_t memory_length(const ModelConfig& config, std::int64_t position) {
  return std::min(config.sections.cross_attention.window.value_or(position), position);
}

/// Positions that the attention blocks of a section look at from `position`, summed over its layers; values
/// alone count half.
double positions_read(const ModelConfig& config, int section, std::int64_t position) {
  double positions = 0;
  for (int l = 0; l < config.sections.layers_per_section[static_cast<std::size_t>(section)]; ++l) {
    positions += static_cast<double>(position + 1);
    if (!config.has_cross_attention(section, l)) continue;
    const auto length = static_cast<double>(memory_length(config, position));
    positions += config.sections.cross_attention.has_scores() ? length : length / 2;
  }
  return positions;
}

bool runs(const ModelConfig& config, const EngineOptions& options, int section) {
  return options.decode == DecodeMode::exact || section == config.sections.count - 1;
}

}  // namespace

StepBytes step_bytes(const CheckpointIndex& index, const RankPart& part, const EngineOptions& options,
                     const BenchPoint& point) {
  const ModelConfig& config = index.config;
  StepBytes bytes;
  const std::int64_t middle = point.depth + point.decode / 2;
  std::set<std::pair<int, std::int64_t>> read;  // sections that run together read what they share once
  for (int s = part.first_section; s < part.first_section + part.sections; ++s) {
    if (!runs(config, options, s)) continue;
    if (s > 0 && !step_runs_beside(config, options, s)) read.clear();
    for_datasets(index, s, [&](const std::string& name, const DatasetInfo& info) {
      if (is_read(config, name) && read.emplace(info.file, info.offset).second) bytes.weights += info.bytes;
    });
    const double positions = positions_read(config, s, middle) * static_cast<double>(point.batch);
    bytes.caches += static_cast<std::int64_t>(positions) * 2 * config.num_key_value_heads * config.head_dim *
                    cache_number_bytes(options.cache_format);
  }
  const DatasetInfo& head =
      index.datasets.at(config.tie_word_embeddings ? "embedding/weight" : "head/weight");
  bytes.weights += head.bytes / head.rows() * rows_of_head(config, part);
  if (part.hosts_last(config)) bytes.weights += index.datasets.at("final_norm/weight").bytes;
  return bytes;
}

double prefill_operations(const CheckpointIndex& index, const BenchPoint& point) {
  const ModelConfig& config = index.config;
  const auto rows = static_cast<double>(point.prompt * point.batch);
  double operations = 0;
  for (const auto& [name, info] : index.datasets)
    if (name.starts_with("sections/") && info.shape.size() == 2 && is_read(config, name))
      operations += 2 * static_cast<double>(info.rows() * info.columns()) * rows;
  double positions = 0;  // looked at by one sequence
  for (int s = 0; s < config.sections.count; ++s)
    for (std::int64_t t = 0; t < point.prompt; ++t) positions += positions_read(config, s, t);
  operations += 4 * positions * static_cast<double>(point.batch) *
                static_cast<double>(config.num_attention_heads * config.head_dim);
  return operations +
         2 * static_cast<double>(config.vocab_size * config.hidden_size) * static_cast<double>(point.batch);
}

}  // namespace stagformer::internal
