#include "import/import.hpp"

#include <omp.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/thread_team.hpp"
#include "checkpoint/schema.hpp"
#include "checkpoint/writer.hpp"
#include "import/gguf_header.hpp"
#include "import/gguf_model.hpp"
#include "import/huggingface_model.hpp"
#include "import/sections.hpp"
#include "import/source.hpp"
#include "import/tensor_copy.hpp"
#include "stagformer/error.hpp"
#include "text/chat_template.hpp"
#include "text/tokenizer.hpp"

namespace stagformer::internal {
namespace {

ImportSource open_source(const ImportOptions& options) {
  std::error_code unknown;
  if (std::filesystem::is_directory(options.input, unknown))
    return open_huggingface(options.input, options.with_tokenizer);
  const SourceFile file(options.input);
  if (!is_gguf(file.prefix(std::min<std::int64_t>(4, file.bytes()))))
    refuse_source(options.input,
                  "is no GGUF file; of a Hugging Face model name the folder that holds its config.json");
  return open_gguf(options.input, options.with_tokenizer);
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t extent : shape) text += (text.empty() ? "[" : ", ") + std::to_string(extent);
  return text + "]";
}

/// One import: what was opened, and the report as it grows.
class Importer {
 public:
  explicit Importer(const ImportOptions& options)
      : options_(options), source_(open_source(options)), team_(omp_get_max_threads()) {}

  ImportReport run();

 private:
  void make_config();
  void check_output() const;
  std::string source_name_of(const std::string& dataset) const;
  void match_tensors();
  void check_shape(const DatasetRequest& request, const SourceTensor& tensor) const;
  void refuse_surplus(const std::set<std::string>& used) const;
  void check_tokenizer();
  void check_chat_template();
  NumberFormat target_of(const DatasetRequest& request, const SourceTensor& tensor);
  void copy(CheckpointWriter& writer, const DatasetRequest& request, const SourceTensor& tensor);

  const ImportOptions& options_;
  ImportSource source_;
  ThreadTeam team_;
  ModelConfig config_;
  std::vector<std::pair<DatasetRequest, const SourceTensor*>> work_;  // in the order of the schema
  ImportReport report_;
  std::int64_t done_ = 0;
};

void Importer::make_config() {
  report_.layers_per_section = cut_layers(source_.layers, options_.sections, options_.layers_per_section);
  source_.config["sections"] = {{"count", report_.layers_per_section.size()},
                                {"layers_per_section", report_.layers_per_section},
                                {"links", "chained"}};
  try {
    config_ = ModelConfig::from_json(source_.config.dump());
  } catch (const ConfigError& error) {
    refuse_source(source_.config_file, error.what());
  }
}

/// Compared as files, not as names: links count.
void Importer::check_output() const {
  for (const std::string& output : report_.files)
    for (const auto& input : source_.files) {
      std::error_code missing;
      if (std::filesystem::equivalent(output, input->path(), missing))
        throw InputError(output + ": is the input and would be overwritten; choose another name");
    }
}

/// Layers counted through: "sections/1/layers/2/..." is "layers/17/..." behind a section of 15.
std::string Importer::source_name_of(const std::string& dataset) const {
  const std::string prefix = "sections/", middle = "/layers/";
  if (!dataset.starts_with(prefix)) return dataset;
  std::size_t section_end = 0, layer_end = 0;
  const int section = std::stoi(dataset.substr(prefix.size()), &section_end);
  const std::string rest = dataset.substr(prefix.size() + section_end + middle.size());
  int layer = std::stoi(rest, &layer_end);
  for (int s = 0; s < section; ++s) layer += report_.layers_per_section[static_cast<std::size_t>(s)];
  return "layers/" + std::to_string(layer) + rest.substr(layer_end);
}

void Importer::check_shape(const DatasetRequest& request, const SourceTensor& tensor) const {
  if (tensor.shape == request.shape) return;
  refuse_source(source_.files[tensor.file]->path(),
                "tensor '" + tensor.name + "' has the wrong shape (expected " + shape_text(request.shape) +
                    ", found " + shape_text(tensor.shape) + ")");
}

/// What each dataset is made of. All tensors of the source must find their place.
void Importer::match_tensors() {
  std::set<std::string> used;
  for (DatasetRequest& request : schema_of(config_)) {
    const std::string name = source_name_of(request.name);
    const auto found = source_.tensors.find(name);
    if (found == source_.tensors.end())
      refuse_source(options_.input, "tensor '" + source_.names->theirs(name) + "' is missing");
    check_shape(request, found->second);
    used.insert(name);
    report_.input_bytes += found->second.bytes;
    work_.emplace_back(std::move(request), &found->second);
  }
  refuse_surplus(used);
}

/// A bias of the attention's output has no place in the engine; where it is zero nothing is lost.
void Importer::refuse_surplus(const std::set<std::string>& used) const {
  for (const auto& [name, tensor] : source_.tensors) {
    if (used.contains(name)) continue;
    const SourceFile& file = *source_.files[tensor.file];
    const bool output_bias = name.ends_with("self_attention/o/bias");
    if (output_bias && tensor.shape.size() == 1 && is_all_zero(file, tensor)) continue;
    refuse_source(file.path(),
                  "tensor '" + tensor.name +
                      (output_bias ? "' is a bias of the attention's output that is not zero, which is "
                                     "not supported"
                                   : "' has no place in a model of this configuration"));
  }
}

/// Made once here, so that a tokenizer which the engine cannot read is refused now and not at the first
/// prompt. It may have fewer tokens than the embedding has rows: those are often padded.
void Importer::check_tokenizer() {
  const SourceTokenizer& tokenizer = source_.tokenizer;
  report_.tokenizer = "none";
  if (tokenizer.type.empty()) return;
  std::int64_t size = 0;
  try {
    size = make_tokenizer(tokenizer.type, tokenizer.model)->vocab_size();
  } catch (const CheckpointError& error) {
    refuse_source(tokenizer.origin, error.what());
  }
  if (size > config_.vocab_size)
    refuse_source(tokenizer.origin, "the tokenizer has " + std::to_string(size) +
                                        " tokens, the embedding only " + std::to_string(config_.vocab_size));
  report_.tokenizer = tokenizer.type + ", " + std::to_string(size) + " tokens";
}

/// A template that cannot be used is no reason to refuse the model: it is kept, and named.
void Importer::check_chat_template() {
  const ChatText& chat = source_.tokenizer.chat;
  if (chat.chat_template.empty()) return;
  report_.tokenizer += ", a chat template";
  try {
    const ChatTemplate known(chat.chat_template, chat.bos_token, chat.eos_token);
  } catch (const InputError& error) {
    source_.warnings.push_back(source_.tokenizer.origin +
                               ": conversations need another template: " + error.what());
  }
}

/// The format to write, counted in the report.
NumberFormat Importer::target_of(const DatasetRequest& request, const SourceTensor& tensor) {
  if (request.f32_only) return NumberFormat::f32;
  const NumberFormat exact = exact_format(tensor.type), wanted = options_.to.value_or(exact);
  const bool fits = !is_block_format(wanted) || tensor.columns() % kBlockValues == 0;
  if (!fits) report_.kept.push_back(request.name);
  const NumberFormat to = fits ? wanted : exact;
  report_.converted += to != exact;
  report_.widened += tensor.type == TensorType::f16 && to == NumberFormat::f32;
  return to;
}

void Importer::copy(CheckpointWriter& writer, const DatasetRequest& request, const SourceTensor& tensor) {
  const NumberFormat to = target_of(request, tensor);
  writer.begin(request.name, to);
  copy_tensor(*source_.files[tensor.file], tensor, to, team_,
              [&](std::span<const std::byte> stored) { writer.append(stored); });
  writer.end();
  done_ += tensor.bytes;
  report_.output_bytes += tensor.rows() * stored_row_bytes(to, tensor.columns());
  if (options_.progress) options_.progress(done_, report_.input_bytes);
}

ImportReport Importer::run() {
  make_config();
  report_.description = source_.description;
  report_.files = checkpoint_files(options_.output, config_.sections.count, options_.split);
  check_output();
  match_tensors();
  check_tokenizer();
  check_chat_template();
  report_.warnings = source_.warnings;
  report_.datasets = static_cast<std::int64_t>(work_.size());

  WriterOptions writer_options;
  writer_options.split = options_.split;
  writer_options.alignment = options_.alignment;
  writer_options.source = std::filesystem::path(options_.input).lexically_normal().filename().string() +
                          " (" + source_.description + ")";
  CheckpointWriter writer(options_.output, config_.to_json(), writer_options);
  if (!source_.tokenizer.type.empty()) {
    writer.set_tokenizer(source_.tokenizer.type, source_.tokenizer.model);
    writer.set_chat(source_.tokenizer.chat);
  }
  for (const auto& [request, tensor] : work_) copy(writer, request, *tensor);
  writer.finish();
  return report_;
}

}  // namespace

ImportReport import_model(const ImportOptions& options) {
  return Importer(options).run();
}

}  // namespace stagformer::internal
