#include "pipeline/benchmark.hpp"

#include <algorithm>
#include <numeric>

#include "base/check.hpp"
#include "base/hash.hpp"
#include "stagformer/error.hpp"
#include "text/random.hpp"

namespace stagformer::internal {
namespace {

/// A uniform token that depends on seed, sequence and position alone.
std::int32_t random_token(std::uint64_t seed, std::int64_t sequence, std::int64_t position,
                          std::int64_t vocab_size) {
  const auto words =
      philox({static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(sequence), 0, 0},
             {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
  return static_cast<std::int32_t>(words[0] % static_cast<std::uint64_t>(vocab_size));
}

}  // namespace

Benchmark::Benchmark(Engine& engine, Transport& world, Transport& replica, const ModelConfig& config,
                     const EngineOptions& options, std::uint64_t seed, std::function<bool()> should_stop)
    : engine_(engine),
      world_(world),
      replica_(replica),
      config_(config),
      options_(options),
      seed_(seed),
      should_stop_(std::move(should_stop)) {}

BenchSamples Benchmark::run(const BenchPoint& point, std::int64_t first_sequence) {
  STAG_CHECK(point.batch <= options_.slots && point.context() <= options_.context, point.batch,
             options_.slots, point.context(), options_.context);
  make_prompts(point, first_sequence);
  samples_ = {};
  samples_.step_s.reserve(static_cast<std::size_t>(point.decode * (point.repetitions + 1)));
  prefill(0, point.prompt);
  for (std::int64_t i = 0; i < point.repetitions && !stop_agreed(); ++i)
    samples_.prefill.push_back(time([&] { prefill(0, point.prompt); }));
  if (point.depth != point.prompt && !samples_.stopped) prefill(0, point.depth);
  const std::vector<std::int32_t> first = next_;
  decode(point);
  const std::uint64_t digest = samples_.token_digest;
  samples_.step_s.clear();
  // Where nothing wraps round, decoding from the same depth again finds the same caches. A window's memory
  // does wrap round, and has forgotten what the first step needs.
  const bool refill = config_.sections.cross_attention.window.has_value();
  for (std::int64_t i = 0; i < point.repetitions && !stop_agreed(); ++i) {
    if (refill) prefill(0, point.depth);
    next_ = first;
    samples_.decode.push_back(time([&] { decode(point); }));
    STAG_CHECK(samples_.stopped || samples_.token_digest == digest, "tokens of repetition", i);
  }
  engine_.drain();
  return std::move(samples_);
}

/// Collective: whether any rank of any replica was asked to stop.
bool Benchmark::stop_agreed() {
  samples_.stopped |= should_stop_();
  for (const char other : gather_values(world_, static_cast<char>(samples_.stopped)))
    samples_.stopped |= other != 0;
  return samples_.stopped;
}

void Benchmark::make_prompts(const BenchPoint& point, std::int64_t first_sequence) {
  prompts_.assign(static_cast<std::size_t>(point.batch), {});
  for (std::size_t b = 0; b < prompts_.size(); ++b)
    for (std::int64_t t = 0; t < std::max(point.prompt, point.depth); ++t)
      prompts_[b].push_back(
          random_token(seed_, first_sequence + static_cast<std::int64_t>(b), t, config_.vocab_size));
  next_.assign(prompts_.size(), 0);
  rows_.reserve(static_cast<std::size_t>(std::max(options_.chunk, point.batch)));
  readouts_.reserve(prompts_.size());
}

/// Positions [begin, end) of every sequence, one sequence after the other, chunk by chunk; the last position
/// is read out.
void Benchmark::prefill(std::int64_t begin, std::int64_t end) {
  for (std::size_t b = 0; b < prompts_.size(); ++b)
    for (std::int64_t at = begin; at < end; at += options_.chunk) {
      const std::int64_t count = std::min(options_.chunk, end - at);
      rows_.clear();
      readouts_.clear();
      for (std::int64_t i = 0; i < count; ++i) rows_.push_back({static_cast<int>(b), at + i});
      if (at + count == end) readouts_.push_back({static_cast<std::int32_t>(count - 1), {}, {}, -1, false});
      engine_.run_sections(
          {rows_,
           std::span(prompts_[b]).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(count)),
           readouts_, PassKind::exact});
      if (!readouts_.empty()) take(engine_.read_out(), b);
    }
}

/// Pass by pass, each a group's step. A rank goes on with the next groups while the ranks behind it finish
/// this one's; it needs a group's token when that group's turn comes again.
void Benchmark::decode(const BenchPoint& point) {
  const auto ahead = [&](int ranks_behind) { return std::min<std::int64_t>(point.groups - 1, ranks_behind); };
  const RankPart& part = engine_.part();
  const std::int64_t mine = ahead(part.ranks - 1 - part.rank), first_ranks = ahead(part.ranks - 1);
  std::int64_t passes = samples_.stopped ? 0 : point.decode * point.groups, collected = 0;
  samples_.token_digest = kHashStart;
  double begin = now_seconds();
  const auto collect_next = [&] {
    collect(point, collected++);
    // All see the stop in the same read-out; they follow to where the first rank is.
    if (samples_.stopped) passes = std::min(passes, collected + first_ranks);
  };
  for (std::int64_t pass = 0; pass < passes; ++pass) {
    if (should_stop_()) engine_.request_stop();
    run_group(point, pass / point.groups, pass % point.groups);
    if (engine_.pending_read_outs() > mine) collect_next();
    if ((pass + 1) % point.groups != 0) continue;
    const double now = now_seconds();
    samples_.step_s.push_back(static_cast<float>(now - begin));
    begin = now;
  }
  while (engine_.pending_read_outs() > 0) collect_next();
}

void Benchmark::run_group(const BenchPoint& point, std::int64_t step, std::int64_t group) {
  const std::int64_t first = point.first_of(group), end = point.first_of(group + 1);
  rows_.clear();
  readouts_.clear();
  for (std::int64_t b = first; b < end; ++b) {
    readouts_.push_back({static_cast<std::int32_t>(rows_.size()), {}, {}, -1, false});
    rows_.push_back({static_cast<int>(b), point.depth + step});
  }
  const auto tokens =
      std::span(next_).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(end - first));
  engine_.run_sections({rows_, tokens, readouts_, step_kind(options_.decode)});
}

/// Tokens in the order of the sequences, whatever the groups.
void Benchmark::collect(const BenchPoint& point, std::int64_t pass) {
  const auto first = static_cast<std::size_t>(point.first_of(pass % point.groups));
  const std::size_t count = take(engine_.read_out(), first);
  for (std::size_t b = first; b < first + count; ++b)
    samples_.token_digest = hash_step(samples_.token_digest, static_cast<std::uint32_t>(next_[b]));
}

/// Returns how many sequences took a token.
std::size_t Benchmark::take(const ReadoutOutcome& outcome, std::size_t first) {
  samples_.stopped |= outcome.stop_requested;
  for (std::size_t i = 0; i < outcome.results.size(); ++i) {
    if (!outcome.results[i].finite) throw NumericError("the model gave values that are not finite");
    next_[first + i] = outcome.results[i].token;
  }
  return outcome.results.size();
}

/// The messages of the last pass are still under way at the end: they count, taking them in does not.
template <typename Work>
BenchSample Benchmark::time(const Work& work) {
  engine_.drain();
  world_.barrier();
  BenchSample sample;
  const std::uint64_t messages = replica_.messages_sent(), bytes = replica_.bytes_sent();
  engine_.clock().enter(Phase::other);
  engine_.clock().reset();
  work();
  engine_.clock().enter(Phase::other);
  sample.phases = engine_.clock().seconds();
  sample.seconds = std::accumulate(sample.phases.begin(), sample.phases.end(), 0.0);
  sample.messages = replica_.messages_sent() - messages;
  sample.bytes = replica_.bytes_sent() - bytes;
  return sample;
}

}  // namespace stagformer::internal
