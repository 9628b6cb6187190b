#include "pipeline/machine_speed.hpp"

#include <algorithm>
#include <barrier>
#include <functional>
#include <thread>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "base/phase_clock.hpp"
#include "kernels/machine_speed.hpp"

namespace stagformer::internal {
namespace {

constexpr int kRepetitions = 5;
constexpr std::int64_t kMostBytes = std::int64_t{1} << 30;  // beyond any cache, and quickly read
constexpr std::int64_t kLeastRead = std::int64_t{128}
                                    << 20;  // a repetition reads more than waking threads costs
constexpr std::int64_t kFmaRounds = 1 << 20;

/// Threads that do a piece of work together again and again; the caller is the first of them.
class Crew {
 public:
  explicit Crew(int threads) : start_(threads), end_(threads) {
    for (int t = 1; t < threads; ++t) others_.emplace_back([this, t] { serve(t); });
  }
  ~Crew() {
    work_ = nullptr;
    start_.arrive_and_wait();
  }
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  /// Seconds from the start to the end of the slowest.
  double time(const std::function<void(int thread)>& work) {
    work_ = work;
    const double begin = now_seconds();
    start_.arrive_and_wait();
    work_(0);
    end_.arrive_and_wait();
    return now_seconds() - begin;
  }

 private:
  void serve(int thread) {
    for (;;) {
      start_.arrive_and_wait();
      if (!work_) return;
      work_(thread);
      end_.arrive_and_wait();
    }
  }

  std::function<void(int)> work_;  // written while all others wait at start_
  std::barrier<> start_, end_;
  std::vector<std::jthread> others_;  // joined first
};

double median_seconds(Transport& world, Crew& crew, const std::function<void(int)>& work) {
  std::vector<double> seconds;
  for (int i = 0; i < kRepetitions; ++i) {
    world.barrier();
    seconds.push_back(crew.time(work));
  }
  std::ranges::sort(seconds);
  return seconds[seconds.size() / 2];
}

/// Every thread reads its own part, which it also wrote first, so that the memory is near it.
void measure_read(Transport& world, Crew& crew, int threads, std::int64_t bytes, MachineSpeed& speed) {
  const std::int64_t step = kReadStep * static_cast<std::int64_t>(sizeof(float));
  const std::int64_t part = std::max<std::int64_t>(1, std::clamp(bytes, step, kMostBytes) / threads / step);
  speed.read_bytes = part * threads * step;
  AlignedBuffer<float> memory(static_cast<std::size_t>(speed.read_bytes) / sizeof(float), false);
  const std::int64_t floats = part * kReadStep,
                     times = std::max<std::int64_t>(1, kLeastRead / speed.read_bytes);
  crew.time([&](int t) { std::fill_n(memory.data() + t * floats, floats, 1.0F); });
  const double seconds = median_seconds(world, crew, [&](int t) {
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
  Crew crew(threads);
  measure_read(world, crew, threads, bytes, speed);
  const double all = run_fma_chains(kFmaRounds) * threads;
  speed.f32_operations_per_s = all / median_seconds(world, crew, [](int) { run_fma_chains(kFmaRounds); });
  const double dots = run_byte_dot_chains(kFmaRounds) * threads;
  const double dot_seconds = median_seconds(world, crew, [](int) { run_byte_dot_chains(kFmaRounds); });
  if (dots > 0) speed.byte_operations_per_s = dots / dot_seconds;
  return speed;
}

}  // namespace stagformer::internal
