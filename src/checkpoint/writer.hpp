// Writes checkpoints in the layout of docs/checkpoint-format.md. Everything goes to temporary names beside
// the output and appears under its own name only when it is complete.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/chat_text.hpp"
#include "stagformer/config.hpp"
#include "stagformer/number_format.hpp"

namespace stagformer::internal {

struct WriterOptions {
  bool split = false;             ///< one file a section beside the root file
  std::int64_t alignment = 4096;  ///< of datasets in the file, bytes
  std::string writer;             ///< empty: this program and its version
  std::string created;            ///< empty: now, in UTC
  std::string source;             ///< from what the checkpoint was made
};

/// Throws InputError, naming the path and the system's reason, where a file cannot be written.
class CheckpointWriter {
 public:
  /// `config_json` is stored byte for byte; ConfigError where it is no configuration.
  CheckpointWriter(const std::string& path, const std::string& config_json, const WriterOptions& options);
  /// Without finish() nothing is left on disk.
  ~CheckpointWriter();

  /// byte (no model), sentencepiece or huggingface.
  void set_tokenizer(const std::string& type, std::span<const std::byte> model);
  /// Goes with a tokenizer that was set before.
  void set_chat(const ChatText& chat);

  /// A whole dataset, as stored. Its shape is the one that the configuration asks for.
  void write(const std::string& name, NumberFormat format, std::span<const std::byte> stored);
  // The same in pieces, in order.
  void begin(const std::string& name, NumberFormat format);
  void append(std::span<const std::byte> stored);
  void end();

  /// `name`, a group or a dataset, becomes a link to `target`.
  void alias(const std::string& name, const std::string& target);

  /// Throws CheckpointError for a dataset that is missing; then gives the files their names.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The files that a checkpoint of this name consists of, the root file first.
std::vector<std::string> checkpoint_files(const std::string& path, int sections, bool split);

}  // namespace stagformer::internal
