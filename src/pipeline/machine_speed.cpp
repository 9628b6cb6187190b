#include "pipeline/machine_speed.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "base/phase_clock.hpp"
#include "base/statistics.hpp"
#include "base/thread_team.hpp"
#include "kernels/machine_speed.hpp"

namespace stagformer::internal {
namespace {

constexpr int kRepetitions = 5;
constexpr std::int64_t kMostBytes = std::int64_t{1} << 30;  // beyond any cache, and quickly read
constexpr std::int64_t kLeastRead = std::int64_t{128}
                                    << 20;  // a repetition reads more than waking threads costs
constexpr std::int64_t kFmaRounds = 1 << 20;

/// Seconds until the slowest thread is through work(thread).
template <typename Work>
double seconds_of(const ThreadTeam& team, const Work& work) {
  const double begin = now_seconds();
  team.run(0, [&](Worker& worker) { work(worker.index()); });
  return now_seconds() - begin;
}

template <typename Work>
double median_seconds(Transport& world, const ThreadTeam& team, const Work& work) {
  std::vector<double> seconds;
  for (int i = 0; i < kRepetitions; ++i) {
    world.barrier();
    seconds.push_back(seconds_of(team, work));
  }
  return median(std::move(seconds));
}

/// Every thread reads its own part, which it also wrote first, so that the memory is near it.
void measure_read(Transport& world, const ThreadTeam& team, std::int64_t bytes, MachineSpeed& speed) {
  const int threads = team.size();
  const std::int64_t step = kReadStep * static_cast<std::int64_t>(sizeof(float));
  const std::int64_t part = std::max<std::int64_t>(1, std::clamp(bytes, step, kMostBytes) / threads / step);
  speed.read_bytes = part * threads * step;
  AlignedBuffer<float> memory(static_cast<std::size_t>(speed.read_bytes) / sizeof(float), false);
  const std::int64_t floats = part * kReadStep,
                     times = std::max<std::int64_t>(1, kLeastRead / speed.read_bytes);
  seconds_of(team, [&](int t) { std::fill_n(memory.data() + t * floats, floats, 1.0F); });
  const double seconds = median_seconds(world, team, [&](int t) {
    for (std::int64_t i = 0; i < times; ++i) read_all(memory.data() + t * floats, floats);
  });
  speed.read_bytes_per_s = static_cast<double>(speed.read_bytes * times) / seconds;
}

}  // namespace

MachineSpeed best_of(const MachineSpeed& a, const MachineSpeed& b) {
  return {a.read_bytes, std::max(a.read_bytes_per_s, b.read_bytes_per_s),
          std::max(a.f32_operations_per_s, b.f32_operations_per_s),
          std::max(a.byte_operations_per_s, b.byte_operations_per_s)};
}

MachineSpeed measure_machine(Transport& world, std::int64_t bytes, int threads) {
  MachineSpeed speed;
  const ThreadTeam team(threads, 0);
  measure_read(world, team, bytes, speed);
  const double all = run_fma_chains(kFmaRounds) * threads;
  speed.f32_operations_per_s = all / median_seconds(world, team, [](int) { run_fma_chains(kFmaRounds); });
  const double dots = run_byte_dot_chains(kFmaRounds) * threads;
  const double dot_seconds = median_seconds(world, team, [](int) { run_byte_dot_chains(kFmaRounds); });
  if (dots > 0) speed.byte_operations_per_s = dots / dot_seconds;
  return speed;
}

}  // namespace stagformer::internal
