// Where a run's weights come from: a checkpoint as it is, one in another number format, or random numbers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "checkpoint/index.hpp"
#include "checkpoint/tensor_reader.hpp"
#include "stagformer/number_format.hpp"

namespace stagformer::internal {

class ModelSource {
 public:
  virtual ~ModelSource() = default;
  /// On rank 0: the index that all ranks will be given.
  virtual CheckpointIndex read_index() const = 0;
  /// On every rank: `index` is rank 0's; makes it this rank's own, after a look at this rank's files.
  virtual void adopt(CheckpointIndex& index) = 0;
  /// The weights of the adopted index, which must outlive them. `threads` make those that are not read.
  virtual std::unique_ptr<TensorReader> open(const CheckpointIndex& index, bool verify,
                                             int threads) const = 0;
};

std::unique_ptr<ModelSource> checkpoint_source(const std::string& path);
/// The checkpoint's weights, converted in memory as they are loaded.
std::unique_ptr<ModelSource> converted_source(const std::string& path, NumberFormat format);
/// Random weights for a configuration file; only rank 0 reads it.
std::unique_ptr<ModelSource> random_source(const std::string& config_path, NumberFormat format,
                                           std::uint64_t seed);
/// The same for a configuration that is no file; `name` stands for its path.
std::unique_ptr<ModelSource> made_source(const std::string& name, const std::string& config_json,
                                         NumberFormat format);

}  // namespace stagformer::internal
