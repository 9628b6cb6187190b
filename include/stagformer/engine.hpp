// Running a model inside a program: one process hosts all sections. (Over MPI, start the program
// `stagformer`.)
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "stagformer/config.hpp"

namespace stagformer {

struct LoadOptions {
  int threads = 1;
  bool verify = true;        ///< compare the checkpoint's checksums
  std::int64_t context = 0;  ///< positions a sequence may have; 0 = the model's maximum
  std::int64_t chunk = 64;   ///< prompt positions that go through a section at once
  int draft = 0;             ///< tokens that the last section guesses ahead; the text stays the same
};

struct GenerateOptions {
  std::int64_t max_tokens = 128;
  float temperature = 0;   ///< 0 = greedy
  std::int64_t top_k = 0;  ///< 0 = off
  float top_p = 1;         ///< 1 = off
  float min_p = 0;         ///< 0 = off
  std::uint64_t seed = 0;
  std::vector<std::string> stop;
  bool ignore_eos = false;
};

struct Generation {
  std::string text;                     ///< the completion, valid UTF-8
  std::vector<std::int32_t> token_ids;  ///< EOS left out
  std::string finish_reason;            ///< length | stop | eos
};

/// A loaded model. One call at a time; the same results as the program gives, bit for bit.
class Model {
 public:
  /// Reads and verifies the checkpoint. Throws CheckpointError, ConfigError (also where `draft` is not
  /// possible), InputError.
  explicit Model(const std::string& checkpoint, const LoadOptions& options = {});
  ~Model();
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;

  const ModelConfig& config() const;
  std::vector<std::int32_t> tokenize(const std::string& text) const;

  /// Goes on from the prompt (BOS is added where the configuration says so). `on_text` is given new text as
  /// it comes. Throws InputError where prompt and max_tokens exceed the context, NumericError for values that
  /// are not finite.
  Generation generate(const std::string& prompt, const GenerateOptions& options = {},
                      const std::function<void(const std::string&)>& on_text = {});

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace stagformer
