#include "import/gguf_model.hpp"

#include <algorithm>
#include <cmath>

#include "import/gguf_config.hpp"
#include "import/gguf_header.hpp"
#include "import/gguf_tokenizer.hpp"

namespace stagformer::internal {
namespace {

constexpr std::int64_t kMostLayers = 1 << 16;
constexpr const char* kRopeFactors = "rope_freqs.weight";

/// Architectures, and whether the rotary pairs of a head are neighbours there.
bool has_neighbouring_pairs(const GgufHeader& header) {
  const std::string architecture = header.text("general.architecture");
  if (architecture == "llama") return true;
  if (architecture == "qwen2" || architecture == "qwen3") return false;
  refuse_source(header.file, "architecture '" + architecture +
                                 "' is not supported: only 'llama', 'qwen2' and 'qwen3' are");
}

std::optional<std::vector<float>> read_rope_factors(const SourceFile& file, const GgufHeader& header) {
  for (const SourceTensor& tensor : header.tensors) {
    if (tensor.name != kRopeFactors) continue;
    constexpr std::int64_t kMostFactors = 1 << 16;
    if (tensor.type != TensorType::f32 || tensor.shape.size() != 1 || tensor.shape[0] > kMostFactors)
      refuse_source(header.file, std::string("tensor '") + kRopeFactors + "' is no list of float32 values");
    std::vector<float> factors(static_cast<std::size_t>(tensor.shape[0]));
    file.read(tensor.offset, std::as_writable_bytes(std::span(factors)));
    return factors;
  }
  return std::nullopt;
}

/// Files by our names; the rows of queries and keys are marked where they are to be put in order.
void take_tensors(const GgufHeader& header, bool neighbouring, std::int64_t head_dim, ImportSource& source) {
  for (const SourceTensor& tensor : header.tensors) {
    if (tensor.name == kRopeFactors) continue;
    const std::string name = gguf_names().ours(tensor.name);
    if (name.empty())
      refuse_source(header.file,
                    "tensor '" + tensor.name + "' has no place in the models that are supported");
    const bool turned = name.find("self_attention/q/") != std::string::npos ||
                        name.find("self_attention/k/") != std::string::npos;
    SourceTensor& taken = source.tensors[name] = tensor;
    if (turned && neighbouring) taken.paired_rows = head_dim;
  }
}

bool has_biases(const ImportSource& source) {
  for (const auto& [name, tensor] : source.tensors)
    if (name.ends_with("/bias") && !name.ends_with("/o/bias")) return true;
  return false;
}

bool has_head_norms(const ImportSource& source) {
  return std::ranges::any_of(source.tensors,
                             [](const auto& tensor) { return tensor.first.ends_with("/q_norm/weight"); });
}

void refuse_shards(const GgufHeader& header) {
  const std::int64_t shards = header.find_integer("split.count").value_or(1);
  if (shards > 1)
    refuse_source(header.file,
                  "is one of " + std::to_string(shards) +
                      " files of a model, which must be merged first (llama-gguf-split --merge)");
}

}  // namespace

ImportSource open_gguf(const std::string& path, bool with_tokenizer) {
  ImportSource source;
  source.files.push_back(std::make_unique<SourceFile>(path));
  const GgufHeader header = read_gguf_header(*source.files[0]);
  refuse_shards(header);
  const bool neighbouring = has_neighbouring_pairs(header);
  const std::string architecture = header.text("general.architecture");
  source.description = "GGUF, " + architecture;
  source.config_file = path;
  source.names = &gguf_names();
  source.config = gguf_config(header, read_rope_factors(*source.files[0], header), source.warnings);
  source.layers = header.integer(architecture + ".block_count");
  if (source.layers < 1 || source.layers > kMostLayers)
    header.refuse_key(architecture + ".block_count", "is " + std::to_string(source.layers));
  take_tensors(header, neighbouring, source.config["head_dim"], source);
  const auto embedding = source.tensors.find("embedding/weight");
  if (embedding == source.tensors.end()) refuse_source(path, "tensor 'token_embd.weight' is missing");
  source.config["vocab_size"] = embedding->second.rows();
  source.config["tie_word_embeddings"] = !source.tensors.contains("head/weight");
  source.config["attention_bias"] = has_biases(source);
  source.config["qk_norm"] = has_head_norms(source);
  add_gguf_tokens(header, source.config);
  if (with_tokenizer) source.tokenizer = gguf_tokenizer(header, source.warnings);
  return source;
}

}  // namespace stagformer::internal
