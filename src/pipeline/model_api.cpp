// stagformer::Model in terms of HostedModel.
#include "comm/local_transport.hpp"
#include "comm/mpi_communicator.hpp"
#include "pipeline/hosted_model.hpp"
#include "stagformer/engine.hpp"
#include "stagformer/error.hpp"
#include "text/utf8.hpp"

namespace stagformer {

using namespace internal;

Model::Model(const std::string& checkpoint, const LoadOptions& options)
    : hosted_(HostedModel::open(LocalWorld(1).endpoint(0), false, checkpoint, options)) {}

Model::Model(std::unique_ptr<HostedModel> hosted) : hosted_(std::move(hosted)) {}
Model::~Model() = default;
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;

Model internal::load_on(const CommunicatorHandle& communicator, const std::string& checkpoint,
                        const LoadOptions& options) {
  auto world = mpi_communicator(communicator.address, communicator.bytes, communicator.library);
  return Model(HostedModel::open(std::move(world), true, checkpoint, options));
}

const ModelConfig& Model::config() const {
  return hosted_->config();
}

Placement Model::placement() const {
  return hosted_->placement();
}

std::int64_t Model::context() const {
  return hosted_->rules().context;
}

std::vector<std::int32_t> Model::tokenize(const std::string& text) const {
  return hosted_->tokenizer().encode(text);
}

std::string Model::detokenize(std::span<const std::int32_t> token_ids) const {
  for (const std::int32_t id : token_ids)
    if (id < 0 || id >= config().vocab_size)
      throw InputError("token id " + std::to_string(id) + " is outside the model's vocabulary of " +
                       std::to_string(config().vocab_size));
  return valid_utf8(hosted_->tokenizer().decode(token_ids));
}

Generation Model::generate(const std::string& prompt, const GenerateOptions& options, const OnText& on_text) {
  return generate(Prompt{.text = prompt, .options = options}, on_text);
}

Generation Model::generate(const Prompt& prompt, const OnText& on_text) {
  OnBatchText on_batch_text;
  if (on_text) on_batch_text = [&](std::size_t, const std::string& text) { on_text(text); };
  Generation generation = std::move(hosted_->generate({&prompt, 1}, on_batch_text)[0]);
  if (generation.finish_reason == "error") throw NumericError(generation.error);
  return generation;
}

std::vector<Generation> Model::generate_all(std::span<const Prompt> prompts, const OnBatchText& on_text) {
  return hosted_->generate(prompts, on_text);
}

Scores Model::score(const std::string& text, std::int64_t window) {
  return std::move(hosted_->score({&text, 1}, window)[0]);
}

std::vector<Scores> Model::score_all(std::span<const std::string> texts, std::int64_t window) {
  return hosted_->score(texts, window);
}

}  // namespace stagformer
