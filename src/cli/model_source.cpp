#include "cli/model_source.hpp"

#include <optional>
#include <utility>

#include "checkpoint/made_tensors.hpp"
#include "cli/files.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

class CheckpointSource : public ModelSource {
 public:
  explicit CheckpointSource(std::string path) : path_(std::move(path)) {}

  CheckpointIndex read_index() const override { return read_checkpoint_index(path_); }
  void adopt(CheckpointIndex& index) override {
    index.path = path_;
    TensorReader(index, false).check_files();
    if (index.tokenizer_type.empty()) throw CheckpointError(path_ + ": the checkpoint holds no tokenizer");
  }
  std::unique_ptr<TensorReader> open(const CheckpointIndex& index, bool verify, int) const override {
    return std::make_unique<TensorReader>(index, verify);
  }

 private:
  std::string path_;
};

class ConvertedSource final : public CheckpointSource {
 public:
  ConvertedSource(const std::string& path, NumberFormat format) : CheckpointSource(path), format_(format) {}

  void adopt(CheckpointIndex& index) override {
    CheckpointSource::adopt(index);
    stored_ = index;
    index = converted_index(stored_, format_);
  }
  std::unique_ptr<TensorReader> open(const CheckpointIndex& index, bool verify, int threads) const override {
    return std::make_unique<ConvertedTensors>(stored_, index, verify, threads);
  }

 private:
  NumberFormat format_;
  CheckpointIndex stored_;
};

class RandomSource final : public ModelSource {
 public:
  /// Without `json` the file is read.
  RandomSource(std::string path, std::optional<std::string> json, NumberFormat format, std::uint64_t seed)
      : path_(std::move(path)), json_(std::move(json)), format_(format), seed_(seed) {}

  CheckpointIndex read_index() const override {
    const std::string json = json_ ? *json_ : read_file(path_);
    try {
      return random_index(json, format_, seed_);
    } catch (const ConfigError& error) {
      throw ConfigError(path_ + ": " + error.what());
    }
  }
  void adopt(CheckpointIndex& index) override { index.path = path_; }
  std::unique_ptr<TensorReader> open(const CheckpointIndex& index, bool, int threads) const override {
    return std::make_unique<RandomTensors>(index, threads);
  }

 private:
  std::string path_;
  std::optional<std::string> json_;
  NumberFormat format_;
  std::uint64_t seed_;
};

}  // namespace

std::unique_ptr<ModelSource> checkpoint_source(const std::string& path) {
  return std::make_unique<CheckpointSource>(path);
}

std::unique_ptr<ModelSource> converted_source(const std::string& path, NumberFormat format) {
  return std::make_unique<ConvertedSource>(path, format);
}

std::unique_ptr<ModelSource> random_source(const std::string& config_path, NumberFormat format,
                                           std::uint64_t seed) {
  return std::make_unique<RandomSource>(config_path, std::nullopt, format, seed);
}

std::unique_ptr<ModelSource> made_source(const std::string& name, const std::string& config_json,
                                         NumberFormat format) {
  return std::make_unique<RandomSource>(name, config_json, format, 0);
}

}  // namespace stagformer::internal
