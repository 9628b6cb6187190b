// Which part of a model one rank holds, and which of a checkpoint's datasets that takes.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/index.hpp"
#include "pipeline/grid.hpp"
#include "pipeline/options.hpp"
#include "text/sampling.hpp"

namespace stagformer::internal {

/// Which part of the model a rank hosts.
struct RankPart {
  int rank = 0;   ///< in its replica
  int ranks = 1;  ///< of the replica
  int first_section = 0;
  int sections = 1;
  bool whole_head = false;  ///< the last rank under --head last; the others then hold no head
  bool any_head = true;
  VocabularySlice slice;

  bool hosts_last(const ModelConfig& config) const {
    return first_section + sections == config.sections.count;
  }
};
RankPart rank_part(const ModelConfig& config, const Grid& grid, int rank_in_replica, HeadMode head);

inline constexpr const char* kEmbeddingName = "embedding/weight";
/// Of the head's dataset: the embedding's where they are tied.
const std::string& head_name(const ModelConfig& config);
/// "sections/S/layers/L/"
std::string layer_prefix(int section, int layer);

/// File and offset: an object of the checkpoint, whatever its name.
using Place = std::pair<int, std::int64_t>;
inline Place place_of(const DatasetInfo& info) {
  return {info.file, info.offset};
}

/// The matrices of a layer in the order in which a step reads them, as "self_attention/q". With a window of
/// one position there are no scores: queries and keys of cross-attention are never read.
std::vector<std::string> layer_matrices(const ModelConfig& config, int section, int layer);
/// The datasets of the part's matrices in that order, each object once.
std::vector<std::string> matrix_names(const CheckpointIndex& index, const RankPart& part);

struct RowRange {
  std::int64_t begin = 0, end = 0;
  std::int64_t count() const { return end - begin; }
};
/// Rows of the head that the rank packs.
RowRange head_rows(const ModelConfig& config, const RankPart& part);

bool needs_embedding(const ModelConfig& config, const RankPart& part);
/// False where tokens are looked up in the head's panels: a tied head that the rank holds whole.
bool keeps_embedding_rows(const ModelConfig& config, const RankPart& part);

}  // namespace stagformer::internal
