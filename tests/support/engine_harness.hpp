// Runs the engine over a given text on any placement and returns every number worth comparing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/index.hpp"
#include "comm/local_transport.hpp"
#include "comm/transport.hpp"
#include "kernels/kernels.hpp"
#include "pipeline/options.hpp"
#include "pipeline/trace.hpp"
#include "stagformer/config.hpp"

namespace stagformer::test {

struct EngineRun {
  int threads = 1;
  internal::Schedule schedule = internal::Schedule::staggered;
  internal::HeadMode head = internal::HeadMode::sliced;
  internal::DecodeMode decode = internal::DecodeMode::exact;
  /// What block formats are multiplied with; f32 is what references compute.
  internal::ActivationFormat activations = internal::ActivationFormat::f32;
  std::int64_t pass_rows = 1000;  ///< rows a pass: 1 = step by step
  std::int64_t recurrent_after = 0;
  std::optional<PromptMemory> prompt_memory;  ///< in place of the checkpoint's
  bool lookahead = false;                     ///< put read-outs off as evaluation does
  std::vector<internal::SectionDelay> delays;
  std::size_t trace_spans = 0;
};

/// What one rank saw.
struct EngineResult {
  /// [own sections][T][d], own sections first_section...; exact passes only
  int first_section = 0;
  std::vector<std::vector<float>> section_outputs;
  /// [T][targets]: log-probabilities of `targets` at each position; the same on all ranks
  std::vector<float> log_probabilities;
  std::vector<std::int32_t> chosen;  ///< [T]: greedy choice at each position
  std::vector<internal::TraceSpan> spans;
};

/// Body of one rank: all ranks of `replica` call it with the same arguments. targets: [T][n] token ids.
EngineResult run_engine(internal::Transport& replica, const internal::CheckpointIndex& index,
                        const std::vector<std::int32_t>& tokens,
                        const std::vector<std::vector<std::int32_t>>& targets, const EngineRun& run);

/// All ranks as threads; entry r is rank r's result.
std::vector<EngineResult> run_engine_locally(int ranks, const internal::LocalOptions& options,
                                             const internal::CheckpointIndex& index,
                                             const std::vector<std::int32_t>& tokens,
                                             const std::vector<std::vector<std::int32_t>>& targets,
                                             const EngineRun& run);

/// The section outputs of all ranks in order: [p][T][d].
std::vector<std::vector<float>> all_sections(const std::vector<EngineResult>& results);

/// For each position: the token that follows and a handful spread over the vocabulary.
std::vector<std::vector<std::int32_t>> spread_targets(const std::vector<std::int32_t>& tokens,
                                                      std::int64_t vocab_size);

}  // namespace stagformer::test
