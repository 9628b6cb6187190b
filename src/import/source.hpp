// A foreign model as the importer sees it, whatever file it comes from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/chat_text.hpp"
#include "import/source_file.hpp"
#include "import/tensor_type.hpp"

namespace stagformer::internal {

/// Which source name stands for which of ours; both directions.
struct NameTable {
  using Pair = std::pair<const char*, const char*>;  ///< source's, ours

  std::string layer_prefix;  ///< in front of the layer's number: "blk."
  std::vector<Pair> parts;   ///< behind the number: {"attn_q.weight", "self_attention/q/weight"}
  std::vector<Pair> whole;   ///< outside of layers

  /// Our name, or nothing where the source's name is not in the table.
  std::string ours(const std::string& source_name) const;
  /// The source's name for one of ours that is in the table; else our own.
  std::string theirs(const std::string& our_name) const;
};

struct SourceTensor {
  std::string name;      ///< as the source calls it
  std::size_t file = 0;  ///< index into ImportSource::files
  std::int64_t offset = 0, bytes = 0;
  TensorType type = TensorType::f32;
  std::vector<std::int64_t> shape;  ///< [out, in] or [n]
  /// Rows of a head where its rotary pairs are neighbours (0, 1), (2, 3), ... instead of its two halves; else
  /// 0.
  std::int64_t paired_rows = 0;

  std::int64_t rows() const { return shape.size() > 1 ? shape.front() : 1; }
  std::int64_t columns() const { return shape.back(); }
};

struct SourceTokenizer {
  std::string type;  ///< of checkpoint-format.md; empty: the source has none
  std::vector<std::byte> model;
  std::string origin;  ///< the file it was made from, for messages
  ChatText chat = {};
};

struct ImportSource {
  std::string description;  ///< "GGUF, llama"
  const NameTable* names = nullptr;
  std::vector<std::unique_ptr<SourceFile>> files;
  std::string config_file;  ///< where the configuration comes from, for messages
  nlohmann::json config;    ///< keys of checkpoint-format.md, all but `sections`
  std::int64_t layers = 0;
  /// By the checkpoint's names, layers counted through: "layers/17/self_attention/q/weight".
  std::map<std::string, SourceTensor> tensors;
  SourceTokenizer tokenizer;
  std::vector<std::string> warnings;
};

const NameTable& gguf_names();
const NameTable& huggingface_names();

}  // namespace stagformer::internal
