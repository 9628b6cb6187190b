// Stored bytes of datasets, straight from the files by pread: HDF5 is not in the data path.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/index.hpp"

namespace stagformer::internal {

class TensorReader {
 public:
  /// Opens files as they are needed; checks that each has the size and head hash the index names (else
  /// CheckpointError: this rank's file differs from rank 0's). `verify`: compare xxh3_64 of whole datasets.
  TensorReader(const CheckpointIndex& index, bool verify);
  virtual ~TensorReader();
  TensorReader(const TensorReader&) = delete;
  TensorReader& operator=(const TensorReader&) = delete;

  /// Opens and checks all files at once; throws as above.
  virtual void check_files();
  /// Reads the whole dataset into `out` (exactly its stored bytes) and verifies its checksum if asked to.
  /// Throws CheckpointError that names file and dataset for a short read or a wrong checksum.
  void read(const std::string& name, std::span<std::byte> out);
  /// Reads rows [first, first + count) of a matrix; any thread may call. Never verified: that is for
  /// DatasetStream. Everything else goes through this; what is read from elsewhere than files overrides it.
  virtual void read_rows(const std::string& name, std::int64_t first, std::int64_t count,
                         std::span<std::byte> out);
  /// f32 vectors (norms, biases, coefficients): whole, verified, finite (else CheckpointError).
  std::vector<float> read_vector(const std::string& name);

  bool verifies() const { return verify_; }
  std::uint64_t bytes_read() const;

 private:
  struct Files;
  const CheckpointIndex& index_;
  bool verify_;
  std::unique_ptr<Files> files_;
};

}  // namespace stagformer::internal
