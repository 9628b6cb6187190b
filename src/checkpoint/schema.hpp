// Which datasets a configuration asks for (docs/checkpoint-format.md): the one list that reader and writer go
// by.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "stagformer/config.hpp"

namespace stagformer::internal {

struct DatasetRequest {
  std::string name;                 ///< "sections/0/layers/1/self_attention/q/weight"
  std::vector<std::int64_t> shape;  ///< logical: [out, in] or [n]
  bool f32_only = false;            ///< norms, biases, coefficients
  bool optional = false;            ///< may be absent, and is read where it is present
};

/// In the order in which the engine uses them: embedding, sections by layer, final norm, head.
std::vector<DatasetRequest> schema_of(const ModelConfig& config);

/// Blocks that all sections of a model with shared weights have in common, as (group, group of section 0)
/// pairs: what a writer stores once and links. Empty for separate weights.
std::vector<std::pair<std::string, std::string>> shared_blocks(const ModelConfig& config);

/// The names of a schema as a tree of groups; leaves point into the vector it was made from.
struct SchemaNode {
  std::map<std::string, SchemaNode> children;
  const DatasetRequest* request = nullptr;

  /// The first dataset at or below this node that must exist; null where all are optional.
  const DatasetRequest* first_required() const;
};
SchemaNode schema_tree(const std::vector<DatasetRequest>& schema);

}  // namespace stagformer::internal
