// Datasets that are stored once and have several names.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "checkpoint/index.hpp"

namespace stagformer::internal {

struct Sharing {
  std::vector<std::string> stored;           ///< one name for every object, the first in the order of names
  std::map<std::string, std::string> links;  ///< other names; whole blocks where all of a block is shared
  std::int64_t linked_datasets = 0;          ///< datasets reached through `links`
};
Sharing sharing_of(const CheckpointIndex& index);

}  // namespace stagformer::internal
