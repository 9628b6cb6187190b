// What a checkpoint holds and where: names, formats, shapes, file offsets, checksums. Read once by rank 0 and
// broadcast; no weight is touched. No HDF5 type appears here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/chat_text.hpp"
#include "stagformer/config.hpp"
#include "stagformer/number_format.hpp"

namespace stagformer::internal {

struct DatasetInfo {
  int file = 0;             ///< index into CheckpointIndex::files
  std::int64_t offset = 0;  ///< of the first byte in that file
  std::int64_t bytes = 0;   ///< stored bytes
  NumberFormat format = NumberFormat::f32;
  std::vector<std::int64_t> shape;        ///< logical: [out, in] or [n]
  std::optional<std::uint64_t> checksum;  ///< xxh3_64 of the stored bytes
  std::uint64_t head_hash =
      0;  ///< xxh3_64 of the first 4 KiB, stands in the digest for a checksum that is missing

  /// A vector counts as one row.
  std::int64_t rows() const { return shape.size() > 1 ? shape.front() : 1; }
  std::int64_t columns() const { return shape.back(); }
};

struct FileInfo {
  std::string
      name;  ///< as written in the root file: relative to the root file's folder; files[0] is the root
  std::int64_t bytes = 0;       ///< size on disk
  std::uint64_t head_hash = 0;  ///< xxh3_64 of the first 64 KiB: tells a rank whose own file differs
};

struct CheckpointIndex {
  std::string path;  ///< of the root file, as given
  std::int64_t format_version = 0;
  std::string writer, created, source;
  std::string config_json;  ///< as stored
  ModelConfig config;
  std::string tokenizer_type;  ///< byte | sentencepiece | huggingface; empty where there is none
  std::vector<std::byte> tokenizer_model;
  ChatText chat;
  std::vector<FileInfo> files;
  /// "sections/0/layers/1/self_attention/q/weight" -> where. Two names of one object have equal (file,
  /// offset).
  std::map<std::string, DatasetInfo> datasets;
  std::vector<std::string> warnings;  ///< missing checksums and the like, one line each

  /// Digest of the content (config, tokenizer, datasets' formats, shapes and checksums), independent of path
  /// and split.
  std::uint64_t digest() const;
  std::vector<std::byte> serialize() const;
  static CheckpointIndex deserialize(std::span<const std::byte> bytes);
};

/// Where files[i] lies: beside the root file, unless its name is an absolute path.
std::string path_of_file(const CheckpointIndex& index, int file);

/// Opens the file(s) read-only, survives missing file locks, checks format, version, config and that every
/// dataset the configuration asks for is there with the right shape (schema.hpp). Throws CheckpointError or
/// ConfigError.
CheckpointIndex read_checkpoint_index(const std::string& path);

}  // namespace stagformer::internal
