#include "pipeline/rank_part.hpp"

#include <set>

#include "kernels/packed_matrix.hpp"

namespace stagformer::internal {

std::string layer_prefix(int section, int layer) {
  return "sections/" + std::to_string(section) + "/layers/" + std::to_string(layer) + "/";
}

const std::string& head_name(const ModelConfig& config) {
  static const std::string kTied = kEmbeddingName, kOwn = "head/weight";
  return config.tie_word_embeddings ? kTied : kOwn;
}

RankPart rank_part(const ModelConfig& config, const Grid& grid, int rank_in_replica, HeadMode head) {
  RankPart part;
  part.rank = rank_in_replica;
  part.ranks = grid.ranks_per_replica();
  part.first_section = grid.first_section(rank_in_replica);
  part.sections = grid.sections_per_rank();
  const bool last_only = head == HeadMode::last && part.ranks > 1;
  part.any_head = !last_only || part.hosts_last(config);
  part.whole_head = last_only && part.any_head;
  part.slice = part.whole_head ? vocabulary_slice(config.vocab_size, 0, 1)
                               : vocabulary_slice(config.vocab_size, rank_in_replica, part.ranks);
  return part;
}

std::vector<std::string> layer_matrices(const ModelConfig& config, int section, int layer) {
  std::vector<std::string> names;
  for (const char* matrix : {"q", "k", "v", "o"}) names.push_back(std::string("self_attention/") + matrix);
  const bool scores = config.sections.cross_attention.has_scores();
  if (config.has_cross_attention(section, layer))
    for (const char* matrix : {"q", "k", "v", "o"})
      if (scores || *matrix == 'v' || *matrix == 'o')
        names.push_back(std::string("cross_attention/") + matrix);
  for (const char* matrix : {"gate", "up", "down"}) names.push_back(std::string("feed_forward/") + matrix);
  return names;
}

std::vector<std::string> matrix_names(const CheckpointIndex& index, const RankPart& part) {
  std::vector<std::string> names;
  std::set<Place> seen;
  for (int s = part.first_section; s < part.first_section + part.sections; ++s)
    for (int l = 0; l < index.config.sections.layers_per_section[static_cast<std::size_t>(s)]; ++l)
      for (const std::string& matrix : layer_matrices(index.config, s, l)) {
        std::string name = layer_prefix(s, l) + matrix + "/weight";
        const auto found = index.datasets.find(name);
        if (found != index.datasets.end() && seen.insert(place_of(found->second)).second)
          names.push_back(std::move(name));
      }
  return names;
}

RowRange head_rows(const ModelConfig& config, const RankPart& part) {
  if (!part.any_head) return {0, 0};
  if (part.whole_head) return {0, config.vocab_size};
  return {part.slice.row_begin(), part.slice.row_begin() + part.slice.rows()};
}

bool needs_embedding(const ModelConfig& config, const RankPart& part) {
  for (int s = part.first_section; s < part.first_section + part.sections; ++s)
    if (config.starts_from_embedding(s)) return true;
  return false;
}

bool keeps_embedding_rows(const ModelConfig& config, const RankPart& part) {
  const bool whole_head = head_rows(config, part).count() == config.vocab_size;
  return needs_embedding(config, part) && !(config.tie_word_embeddings && whole_head);
}

}  // namespace stagformer::internal
