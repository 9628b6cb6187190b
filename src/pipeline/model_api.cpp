#include "stagformer/engine.hpp"

#include "checkpoint/index.hpp"
#include "checkpoint/tensor_reader.hpp"
#include "comm/local_transport.hpp"
#include "pipeline/engine.hpp"
#include "pipeline/generation.hpp"
#include "stagformer/error.hpp"

namespace stagformer {

using namespace internal;

/// Everything a lone rank needs, in the order in which it is made.
struct Model::Parts {
  Parts(const std::string& path, const LoadOptions& load)
      : index(read_checkpoint_index(path)),
        tokenizer(make_tokenizer(index.tokenizer_type, index.tokenizer_model)),
        transport(LocalWorld(1).endpoint(0)),
        grid(make_grid(1, index.config.sections.count)),
        options(engine_options(index.config, load)),
        team(load.threads),
        reader(index, load.verify),
        model(index, rank_part(index.config, grid, 0, HeadMode::sliced), reader, team, {}),
        engine(*transport, grid, model, options, team, 0, 0) {}

  static EngineOptions engine_options(const ModelConfig& config, const LoadOptions& load) {
    if (load.context < 0 || load.context > config.max_position_embeddings)
      throw InputError("a context of " + std::to_string(load.context) + " is more than the model's " +
                       std::to_string(config.max_position_embeddings));
    if (load.draft < 0) throw InputError("LoadOptions::draft is " + std::to_string(load.draft));
    if (load.draft > 0 && !config.draft_refusal().empty()) throw ConfigError(config.draft_refusal());
    use_instruction_set(best_instruction_set());
    EngineOptions options;
    options.head = HeadMode::sliced;
    options.threads = load.threads;
    options.chunk = load.chunk;
    options.draft = load.draft;
    options.context = load.context > 0 ? load.context : config.max_position_embeddings;
    return options;
  }

  GenerationRequest request(const std::string& prompt, const GenerateOptions& wanted) const {
    GenerationRequest request;
    const ModelConfig& config = index.config;
    if (config.add_bos && config.bos_token_id)
      request.prompt.push_back(static_cast<std::int32_t>(*config.bos_token_id));
    for (const std::int32_t id : tokenizer->encode(prompt)) request.prompt.push_back(id);
    if (request.prompt.empty()) throw InputError("the prompt has no tokens");
    if (static_cast<std::int64_t>(request.prompt.size()) + wanted.max_tokens > options.context)
      throw InputError("a prompt of " + std::to_string(request.prompt.size()) + " tokens and " +
                       std::to_string(wanted.max_tokens) + " to generate do not fit the context of " +
                       std::to_string(options.context));
    request.sampling = {wanted.temperature, wanted.top_k, wanted.top_p, wanted.min_p, wanted.seed};
    check_sampling(request.sampling);
    request.max_tokens = wanted.max_tokens;
    request.stop = wanted.stop;
    request.ignore_eos = wanted.ignore_eos;
    return request;
  }

  CheckpointIndex index;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<Transport> transport;
  Grid grid;
  EngineOptions options;
  ThreadTeam team;
  TensorReader reader;
  RankModel model;
  Engine engine;
};

Model::Model(const std::string& checkpoint, const LoadOptions& options)
    : parts_(std::make_unique<Parts>(checkpoint, options)) {}
Model::~Model() = default;
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;

const ModelConfig& Model::config() const {
  return parts_->index.config;
}

std::vector<std::int32_t> Model::tokenize(const std::string& text) const {
  return parts_->tokenizer->encode(text);
}

Generation Model::generate(const std::string& prompt, const GenerateOptions& options,
                           const std::function<void(const std::string&)>& on_text) {
  GenerationResult result;
  Generator::Events events;
  if (on_text)
    events.on_text = [&](const GenerationRequest&, const std::string& text, std::span<const std::int32_t>) {
      on_text(text);
    };
  events.on_result = [&](GenerationResult&& finished) { result = std::move(finished); };
  Generator generator(parts_->engine, *parts_->transport, parts_->index.config, *parts_->tokenizer,
                      parts_->options, events);
  generator.run({parts_->request(prompt, options)});
  if (result.finish_reason == "error") throw NumericError(result.error);
  return {result.text, result.token_ids, result.finish_reason};
}

}  // namespace stagformer
