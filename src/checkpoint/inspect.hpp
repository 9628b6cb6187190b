// What a checkpoint holds, for people.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/index.hpp"

namespace stagformer::internal {

/// Numbers and bytes of some datasets, each object counted once.
struct StoredAmount {
  std::int64_t datasets = 0;
  std::int64_t parameters = 0;
  std::int64_t bytes = 0;

  void add(const DatasetInfo& info);
};

struct SectionReport {
  int layers = 0;
  std::string start;        ///< "embedding", or "chained" behind the section before
  int cross_attention = 0;  ///< layers that have the block
  StoredAmount own;         ///< stored for this section; what it shares counts for the first that has it
  std::int64_t bytes = 0;   ///< all that a rank reads for it, shared weights included
};

struct InspectReport {
  std::string path;
  std::int64_t format_version = 0;
  std::string writer, created, source;
  ModelConfig config;
  std::uint64_t digest = 0;
  StoredAmount total;
  std::map<std::string, StoredAmount> formats;  ///< by number format
  StoredAmount outside;                         ///< embedding, final norm, head, read-out
  std::vector<SectionReport> sections;
  std::int64_t linked_datasets = 0;  ///< further names of stored ones
  std::int64_t with_checksum = 0;
  std::string tokenizer_type;  ///< empty where there is none
  std::int64_t tokenizer_bytes = 0;
  bool has_chat_template = false;
  std::vector<FileInfo> files;
  bool verified = false;
  std::vector<std::string> warnings;

  /// Tables; the warnings are the caller's to show.
  void print(std::ostream& out) const;
};

/// Index and schema are always checked; with `verify` every checksum and every value as well. Throws
/// CheckpointError that names the dataset.
InspectReport inspect_checkpoint(const std::string& path, bool verify);

}  // namespace stagformer::internal
