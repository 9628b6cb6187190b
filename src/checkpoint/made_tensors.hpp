// Weights that no file holds: drawn at random for a configuration, or a checkpoint's in another number
// format. Made row by row as they are asked for, the same on every rank.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/thread_team.hpp"
#include "checkpoint/index.hpp"
#include "checkpoint/tensor_reader.hpp"

namespace stagformer::internal {

/// Index of a model that has no file: every dataset that the configuration asks for, linear weights,
/// embedding and head in `format` (f32 where a block format does not fit), shared blocks shared. `seed` tells
/// one model from another. Throws ConfigError.
CheckpointIndex random_index(const std::string& config_json, NumberFormat format, std::uint64_t seed);

/// The same checkpoint with linear weights, embedding and head in another format, where it fits.
CheckpointIndex converted_index(const CheckpointIndex& stored, NumberFormat format);

/// The weights of a random_index(): outputs of about the size of the inputs, norms one, biases zero. Formats
/// apart, the same index gives the same values.
class RandomTensors final : public TensorReader {
 public:
  RandomTensors(const CheckpointIndex& index, int threads)
      : TensorReader(index, false), index_(index), team_(threads) {}
  void check_files() override {}
  void read_rows(const std::string& name, std::int64_t first, std::int64_t count,
                 std::span<std::byte> out) override;

 private:
  const CheckpointIndex& index_;
  ThreadTeam team_;
};

/// The weights of a converted_index(), which must outlive it.
class ConvertedTensors final : public TensorReader {
 public:
  ConvertedTensors(CheckpointIndex stored, const CheckpointIndex& converted, bool verify, int threads);
  void check_files() override { reader_.check_files(); }
  void read_rows(const std::string& name, std::int64_t first, std::int64_t count,
                 std::span<std::byte> out) override;

 private:
  CheckpointIndex stored_;
  const CheckpointIndex& converted_;
  TensorReader reader_;
  ThreadTeam team_;
};

}  // namespace stagformer::internal
