// Timed runs of a loaded model: prompts through all sections, then decode steps, both as generation does
// them: chunks of a prompt, greedy choice in the real read-out, the chosen token is the next step's input.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/phase_clock.hpp"
#include "comm/transport.hpp"
#include "pipeline/engine.hpp"
#include "pipeline/options.hpp"

namespace stagformer::internal {

/// What is timed; every number is at least 1.
struct BenchPoint {
  std::int64_t prompt = 1;  ///< tokens of a prompt
  std::int64_t decode = 1;  ///< steps
  std::int64_t batch = 1;   ///< sequences at a time in a replica
  std::int64_t depth = 1;   ///< positions in the caches when decoding begins
  std::int64_t repetitions = 1;
  std::int64_t groups = 1;  ///< the batch is dealt to so many, which follow each other through the ranks

  /// Sequences [first, end) of a group.
  std::int64_t first_of(std::int64_t group) const { return group * batch / groups; }
  std::int64_t largest_group() const { return (batch + groups - 1) / groups; }
  std::int64_t context() const { return std::max(prompt, depth + decode); }
};

/// One repetition as this rank saw it.
struct BenchSample {
  double seconds = 0;
  PhaseClock::Seconds phases{};
  std::uint64_t messages = 0, bytes = 0;  ///< sent
};

struct BenchSamples {
  std::vector<BenchSample> prefill, decode;  ///< one a repetition
  std::vector<float> step_s;                 ///< of every decode step
  std::uint64_t token_digest =
      0;                 ///< of the tokens chosen by the last repetition, equal on a replica's ranks
  bool stopped = false;  ///< a rank asked to stop; the samples are not complete
};

class Benchmark {
 public:
  /// `first_sequence`: number of this replica's first sequence; prompts are made of it and of `seed`.
  /// should_stop is asked in every decode step.
  Benchmark(Engine& engine, Transport& world, Transport& replica, const ModelConfig& config,
            const EngineOptions& options, std::uint64_t seed, std::function<bool()> should_stop);

  /// Collective over all replicas: a warm-up of both parts, then the repetitions of each, begun at the same
  /// time on all ranks. The engine must hold point.batch slots of point.context() positions, and the
  /// look-ahead of an evaluation where point.groups > 1.
  BenchSamples run(const BenchPoint& point, std::int64_t first_sequence);

 private:
  void make_prompts(const BenchPoint& point, std::int64_t first_sequence);
  bool stop_agreed();
  void prefill(std::int64_t begin, std::int64_t end);
  void decode(const BenchPoint& point);
  void run_group(const BenchPoint& point, std::int64_t step, std::int64_t group);
  void collect(const BenchPoint& point, std::int64_t pass);
  std::size_t take(const ReadoutOutcome& outcome, std::size_t first);
  template <typename Work>
  BenchSample time(const Work& work);

  Engine& engine_;
  Transport &world_, &replica_;
  const ModelConfig& config_;
  const EngineOptions& options_;
  std::uint64_t seed_;
  std::function<bool()> should_stop_;
  std::vector<std::vector<std::int32_t>> prompts_;  // [sequence][position]
  std::vector<std::int32_t> next_;                  // [sequence]: the token chosen last
  std::vector<Row> rows_;
  std::vector<ReadoutRow> readouts_;
  BenchSamples samples_;
};

}  // namespace stagformer::internal
