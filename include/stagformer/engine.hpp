// Running a model inside a program: in one process, or on the ranks of an MPI communicator (mpi.hpp).
//
//   stagformer::Model model("model.h5");
//   std::cout << model.generate("Once upon a time", {.max_tokens = 40}).text;
//
// The results are those of the program `stagformer`, bit for bit, wherever the model runs. The library never
// starts, ends or aborts MPI, installs no signal handlers, and writes nothing to stdout or stderr.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "stagformer/config.hpp"

namespace stagformer {

/// On a communicator `threads`, `verify` and `memory_limit` may differ from rank to rank, the rest may not.
struct LoadOptions {
  int threads = 0;                ///< of a rank; 0 = OMP_NUM_THREADS, else the rank's share of the cores
  bool verify = true;             ///< compare the checkpoint's checksums
  std::int64_t context = 0;       ///< positions a sequence may have; 0 = the model's maximum
  std::int64_t chunk = 64;        ///< prompt positions that go through a section at once
  int batch = 1;                  ///< most sequences at a time in a replica, each with caches of `context`
  int draft = 0;                  ///< tokens that the last section guesses ahead; the text stays the same
  std::int64_t memory_limit = 0;  ///< bytes a rank may take; 0 = its share of what its host has free
  double stall_timeout_s = 0;     ///< a wait for another rank that is longer throws CommError; 0 = never
};

struct GenerateOptions {
  std::int64_t max_tokens = 0;  ///< 0 = 128, or what the context has room for
  float temperature = 0;        ///< 0 = greedy
  std::int64_t top_k = 0;       ///< 0 = off
  float top_p = 1;              ///< 1 = off
  float min_p = 0;              ///< 0 = off
  std::uint64_t seed = 0;
  float repetition_penalty = 1;        ///< 1 = off; logits of all tokens so far are divided by it
  float presence_penalty = 0;          ///< 0 = off; taken off the logit of every token generated so far
  float frequency_penalty = 0;         ///< 0 = off; the same, times how often; no penalties with `draft`
  std::vector<std::string> stop = {};  ///< the text ends before the first of these
  bool ignore_eos = false;
  bool log_probabilities = false;
};

/// What to go on from: a text (BOS is added where the configuration says so), or token ids as they are.
struct Prompt {
  std::string text;
  std::vector<std::int32_t> token_ids = {};  ///< in place of the text where not empty
  GenerateOptions options = {};
};

struct Generation {
  std::string text;                      ///< the completion, valid UTF-8
  std::vector<std::int32_t> token_ids;   ///< EOS left out
  std::string finish_reason;             ///< length | stop | eos; in a batch also error
  std::vector<float> log_probabilities;  ///< of token_ids, natural logarithm, where asked for
  std::string error;                     ///< one line, with finish_reason error
};

/// Log-probabilities of a text's own tokens.
struct Scores {
  std::vector<std::int32_t> token_ids;   ///< [T], BOS left out
  std::vector<float> log_probabilities;  ///< [T], natural logarithm; NaN where a window has nothing before it
};

/// Where a model runs, seen from this rank.
struct Placement {
  int rank = 0, ranks = 1;  ///< of the communicator
  int replica = 0, replicas = 1;
  int first_section = 0, sections = 1;  ///< that this rank hosts
  int threads = 1;
  std::int64_t weight_bytes = 0, cache_bytes = 0;  ///< on this rank
};

class Model;

namespace internal {
class HostedModel;

/// A communicator without MPI's header; mpi.hpp and the Python module fill it in.
struct CommunicatorHandle {
  const void* address;  ///< of the MPI_Comm
  std::size_t bytes;    ///< sizeof(MPI_Comm) where it comes from
  std::string library;  ///< MPI_Get_library_version there
};
Model load_on(const CommunicatorHandle& communicator, const std::string& checkpoint,
              const LoadOptions& options);
}  // namespace internal

/// A loaded model. One call at a time (a second one throws UsageError). On a communicator all ranks make the
/// same calls in the same order with the same arguments, which is checked, and all get the same results.
///
/// Errors are thrown on all ranks alike: UsageError (arguments out of range), InputError (prompts and texts),
/// NumericError (values that are not finite), CommError (the ranks' calls differ). After them the model can
/// go on. Where a rank is lost or stuck, memory runs out in a call or a promise inside is broken, ranks fail
/// one by one, if at all, and every later call throws CommError.
class Model {
 public:
  /// All sections in this process, without MPI. Throws CheckpointError, ConfigError (also where `draft` is
  /// not possible), InputError, UsageError, MemoryError (see LoadOptions::memory_limit).
  explicit Model(const std::string& checkpoint, const LoadOptions& options = {});
  /// On a communicator: all ranks together, before MPI_Finalize; several models in any order, the same on all
  /// ranks. After MPI_Finalize nothing is left to do but free memory.
  ~Model();
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;

  const ModelConfig& config() const;
  Placement placement() const;
  std::int64_t context() const;  ///< positions that a sequence may have

  /// Ids of the text alone: neither BOS nor EOS is added.
  std::vector<std::int32_t> tokenize(const std::string& text) const;
  /// The text of a sequence, valid UTF-8. Throws InputError for ids outside the vocabulary.
  std::string detokenize(std::span<const std::int32_t> token_ids) const;

  /// New text as it comes, whole characters. Called on every rank of the replica, where given. What it throws
  /// ends the call: it is rethrown on this rank, the others throw an Error with ExitCode::interrupted.
  using OnText = std::function<void(const std::string& text)>;
  /// Goes on from the prompt. Throws InputError where prompt and max_tokens exceed the context.
  Generation generate(const std::string& prompt, const GenerateOptions& options = {},
                      const OnText& on_text = {});
  Generation generate(const Prompt& prompt, const OnText& on_text = {});

  /// The same with the prompt's place in the batch, from 0.
  using OnBatchText = std::function<void(std::size_t prompt, const std::string& text)>;
  /// Many prompts, LoadOptions::batch at a time: one that is through makes room for the next. Results are in
  /// the order of the prompts, each the same as in a file of the program's --prompts; place i keys its random
  /// numbers. One whose values are not finite has finish_reason error. With replicas the callback is called
  /// on the ranks of the replica that has the prompt.
  std::vector<Generation> generate_all(std::span<const Prompt> prompts, const OnBatchText& on_text = {});

  /// Scores a text as the program's eval does: in windows of `window` tokens (BOS included where the
  /// configuration adds it; 0 = context()), each on its own. Throws InputError for a text without tokens.
  Scores score(const std::string& text, std::int64_t window = 0);
  /// The windows of all texts go through the model in one row: on several ranks faster than one by one.
  std::vector<Scores> score_all(std::span<const std::string> texts, std::int64_t window = 0);

 private:
  explicit Model(std::unique_ptr<internal::HostedModel> hosted);
  friend Model internal::load_on(const internal::CommunicatorHandle&, const std::string&, const LoadOptions&);

  std::unique_ptr<internal::HostedModel> hosted_;
};

}  // namespace stagformer
