#include "checkpoint/schema.hpp"

namespace stagformer::internal {
namespace {

using Shape = std::vector<std::int64_t>;

enum class Biases { none, optional, required };

class SchemaBuilder {
 public:
  explicit SchemaBuilder(const ModelConfig& config) : c_(config) {}

  std::vector<DatasetRequest> build() {
    add("embedding/weight", {c_.vocab_size, c_.hidden_size});
    for (int s = 0; s < c_.sections.count; ++s) add_section(s);
    add_vector("final_norm/weight", c_.hidden_size);
    if (!c_.tie_word_embeddings) add("head/weight", {c_.vocab_size, c_.hidden_size});
    if (c_.sections.readout == Readout::linear_combination)
      add_vector("readout/coefficients", c_.sections.count);
    return std::move(requests_);
  }

 private:
  void add(const std::string& name, Shape shape, bool optional = false) {
    requests_.push_back({name, std::move(shape), false, optional});
  }
  void add_vector(const std::string& name, std::int64_t size, bool optional = false) {
    requests_.push_back({name, {size}, true, optional});
  }

  void add_section(int section) {
    const std::string prefix = "sections/" + std::to_string(section) + "/";
    if (c_.has_memory(section) && c_.sections.cross_attention.memory_norm)
      add_vector(prefix + "memory_norm/weight", c_.hidden_size);
    for (int layer = 0; layer < c_.sections.layers_per_section[section]; ++layer) {
      const std::string at = prefix + "layers/" + std::to_string(layer) + "/";
      add_attention(at + "self_attention/", c_.attention_bias ? Biases::required : Biases::none, false);
      if (c_.has_cross_attention(section, layer))
        add_attention(at + "cross_attention/", c_.attention_bias ? Biases::optional : Biases::none,
                      !c_.sections.cross_attention.has_scores());
      add_feed_forward(at + "feed_forward/");
    }
  }

  void add_attention(const std::string& block, Biases biases, bool query_and_key_optional) {
    const std::int64_t d = c_.hidden_size;
    const std::int64_t queries = c_.num_attention_heads * c_.head_dim,
                       keys = c_.num_key_value_heads * c_.head_dim;
    add_vector(block + "norm/weight", d);
    add_projection(block + "q/", queries, biases, query_and_key_optional);
    add_projection(block + "k/", keys, biases, query_and_key_optional);
    add_projection(block + "v/", keys, biases, false);
    add(block + "o/weight", {d, queries});
    if (!c_.qk_norm) return;
    add_vector(block + "q_norm/weight", c_.head_dim, query_and_key_optional);
    add_vector(block + "k_norm/weight", c_.head_dim, query_and_key_optional);
  }

  void add_projection(const std::string& at, std::int64_t out, Biases biases, bool optional) {
    add(at + "weight", {out, c_.hidden_size}, optional);
    if (biases != Biases::none) add_vector(at + "bias", out, optional || biases == Biases::optional);
  }

  void add_feed_forward(const std::string& block) {
    const std::int64_t d = c_.hidden_size, f = c_.intermediate_size;
    add_vector(block + "norm/weight", d);
    add(block + "gate/weight", {f, d});
    add(block + "up/weight", {f, d});
    add(block + "down/weight", {d, f});
  }

  const ModelConfig& c_;
  std::vector<DatasetRequest> requests_;
};

}  // namespace

std::vector<DatasetRequest> schema_of(const ModelConfig& config) {
  return SchemaBuilder(config).build();
}

std::vector<std::pair<std::string, std::string>> shared_blocks(const ModelConfig& config) {
  std::vector<std::pair<std::string, std::string>> blocks;
  if (config.sections.weights != SectionWeights::shared) return blocks;
  for (int s = 1; s < config.sections.count; ++s)
    for (int l = 0; l < config.sections.layers_per_section[s]; ++l)
      for (const char* block : {"/self_attention", "/feed_forward"}) {
        const std::string rest = "/layers/" + std::to_string(l) + block;
        blocks.emplace_back("sections/" + std::to_string(s) + rest, "sections/0" + rest);
      }
  return blocks;
}

const DatasetRequest* SchemaNode::first_required() const {
  if (request) return request->optional ? nullptr : request;
  for (const auto& [name, child] : children)
    if (const DatasetRequest* found = child.first_required()) return found;
  return nullptr;
}

SchemaNode schema_tree(const std::vector<DatasetRequest>& schema) {
  SchemaNode root;
  for (const DatasetRequest& request : schema) {
    SchemaNode* node = &root;
    for (std::size_t begin = 0; begin <= request.name.size();) {
      const std::size_t end = std::min(request.name.find('/', begin), request.name.size());
      node = &node->children[request.name.substr(begin, end - begin)];
      begin = end + 1;
    }
    node->request = &request;
  }
  return root;
}

}  // namespace stagformer::internal
