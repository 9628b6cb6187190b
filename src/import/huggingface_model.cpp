#include "import/huggingface_model.hpp"

#include <algorithm>
#include <filesystem>
#include <map>

#include "import/huggingface_config.hpp"
#include "import/huggingface_tokenizer_choice.hpp"
#include "import/json_file.hpp"
#include "import/safetensors.hpp"

namespace stagformer::internal {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kLargestConfig = 16 << 20, kLargestIndex = 256 << 20;
constexpr int kDeepest = 8;
constexpr const char* kWhole = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

/// What old exports hold besides weights: tables that follow from the configuration.
bool is_derived(const std::string& tensor) {
  return tensor.ends_with(".rotary_emb.inv_freq");
}

class FolderReader {
 public:
  FolderReader(const std::string& folder, bool with_tokenizer)
      : folder_(folder), with_tokenizer_(with_tokenizer) {}

  ImportSource read() {
    read_config();
    for (const std::string& name : weight_files()) add_file(name);
    check_index();
    take_tensors();
    if (with_tokenizer_)
      source_.tokenizer = choose_huggingface_tokenizer(folder_, source_.config, source_.warnings);
    else
      source_.config["add_bos"] = false;
    return std::move(source_);
  }

 private:
  std::string path_of(const std::string& name) const { return (fs::path(folder_) / name).string(); }
  bool has(const std::string& name) const { return is_present(path_of(name)); }

  void read_config() {
    const std::string file = path_of("config.json");
    if (!has("config.json")) refuse_source(folder_, "holds no config.json");
    HuggingFaceConfig found =
        parse_huggingface_config(file, read_small_file(file, kLargestConfig), source_.warnings);
    const std::string generation = path_of("generation_config.json");
    if (is_present(generation))
      add_ends_of_generation(generation, read_small_file(generation, kLargestConfig), found.config);
    source_.description = "Hugging Face, " + found.architecture;
    source_.config_file = file;
    source_.names = &huggingface_names();
    source_.config = std::move(found.config);
    source_.layers = found.layers;
  }

  /// Names in the folder. The index is asked first: folders may hold copies of the weights in other layouts.
  std::vector<std::string> weight_files() {
    if (has(kIndex)) return indexed_files();
    if (has(kWhole)) return {kWhole};
    std::vector<std::string> found;
    std::error_code unreadable;
    for (const auto& entry : fs::directory_iterator(folder_, unreadable))
      if (entry.path().extension() == ".safetensors") found.push_back(entry.path().filename().string());
    if (found.size() == 1) return found;
    if (found.empty()) refuse_source(folder_, std::string("holds no *.safetensors") + other_weights());
    refuse_source(folder_, "holds " + std::to_string(found.size()) + " *.safetensors, but no " + kIndex);
  }

  std::string other_weights() const {
    for (const char* name : {"pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth"})
      if (has(name)) return std::string(" (") + name + " is not supported)";
    return "";
  }

  std::vector<std::string> indexed_files() {
    const std::string file = path_of(kIndex);
    const nlohmann::json index = parse_json_object(file, read_small_file(file, kLargestIndex), kDeepest);
    const nlohmann::json* map = JsonFields(file, index).find("weight_map");
    if (!map || !map->is_object()) refuse_source(file, "'weight_map' is missing");
    std::vector<std::string> names;
    for (const auto& [tensor, name] : map->items()) {
      if (!name.is_string() || fs::path(name.get<std::string>()).filename() != name.get<std::string>())
        refuse_source(file, "'weight_map." + tensor + "' names no file of the folder");
      indexed_[tensor] = name.get<std::string>();
      names.push_back(name.get<std::string>());
    }
    std::ranges::sort(names);
    names.erase(std::unique(names.begin(), names.end()), names.end());
    return names;
  }

  /// Headers only; a tensor may not be in two files.
  void add_file(const std::string& name) {
    source_.files.push_back(std::make_unique<SourceFile>(path_of(name)));
    const SourceFile& file = *source_.files.back();
    for (SourceTensor& tensor : read_safetensors_header(file)) {
      tensor.file = source_.files.size() - 1;
      const auto [other, added] = tensors_.emplace(tensor.name, tensor);
      if (!added)
        refuse_source(file.path(),
                      "tensor '" + tensor.name + "' is also in " + source_.files[other->second.file]->path());
    }
  }

  void check_index() const {
    for (const auto& [tensor, name] : indexed_) {
      const auto found = tensors_.find(tensor);
      if (found == tensors_.end() || source_.files[found->second.file]->path() != path_of(name))
        refuse_source(path_of(name), "tensor '" + tensor + "' is missing, which " + kIndex + " places there");
    }
  }

  void take_tensors() {
    const bool tied = source_.config["tie_word_embeddings"];
    for (const auto& [name, tensor] : tensors_) {
      if (is_derived(name)) continue;
      const std::string ours = huggingface_names().ours(name);
      if (ours.empty())
        refuse_source(source_.files[tensor.file]->path(),
                      "tensor '" + name + "' has no place in the models that are supported");
      if (tied && ours == "head/weight") continue;  // a copy of the embedding
      source_.tensors[ours] = tensor;
    }
  }

  std::string folder_;
  bool with_tokenizer_;
  std::map<std::string, SourceTensor> tensors_;
  std::map<std::string, std::string> indexed_;  // tensor to file, as the index says
  ImportSource source_;
};

}  // namespace

ImportSource open_huggingface(const std::string& folder, bool with_tokenizer) {
  return FolderReader(folder, with_tokenizer).read();
}

}  // namespace stagformer::internal
