// The threads of one rank. Work is cut into fixed pieces; which thread does a piece never changes a result.
#pragma once

#include <omp.h>

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace stagformer::internal {

/// Where the threads of one parallel region meet. A thread that failed releases the others, which then give
/// up as well.
class TeamBarrier {
 public:
  /// `spins`: how often to look before the core is given away.
  explicit TeamBarrier(int spins) : spins_(spins) {}

  /// Thrown to the threads that wait for one that failed.
  struct Abandoned {};

  /// `threads`: how many meet, the same number in every call.
  void wait(int threads) {
    const std::uint32_t round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 < threads) return wait_for(round);
    arrived_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
  }
  void abandon() { failed_.store(true, std::memory_order_release); }

 private:
  void wait_for(std::uint32_t round);

  const int spins_;
  alignas(64) std::atomic<int> arrived_{0};  // written by everyone: apart from what everyone reads
  alignas(64) std::atomic<std::uint32_t> round_{0};
  std::atomic<bool> failed_{false};
};

/// One thread inside a region.
class Worker {
 public:
  Worker(int index, int size, TeamBarrier* barrier) : index_(index), size_(size), barrier_(barrier) {}

  int index() const { return index_; }
  int size() const { return size_; }
  bool leads() const {
    return index_ == 0;
  }  ///< the thread that opened the region: the one that communicates

  /// This thread's part of `count` pieces: contiguous, the parts differ by one at most.
  std::pair<std::int64_t, std::int64_t> share(std::int64_t count) const {
    return {count * index_ / size_, count * (index_ + 1) / size_};
  }
  /// Everything written before is seen by all threads behind it.
  void meet() {
    if (size_ > 1) barrier_->wait(size_);
  }

 private:
  int index_, size_;
  TeamBarrier* barrier_;
};

class ThreadTeam {
 public:
  /// Multiply-adds between two meetings below which a second thread costs more than it saves.
  static constexpr std::int64_t kSerialWork = 1 << 15;

  /// `shared_cores`: more threads than cores run here, so waits give the core away at once.
  explicit ThreadTeam(int threads, std::int64_t serial_work = kSerialWork, bool shared_cores = false)
      : threads_(threads < 1 ? 1 : threads), serial_work_(serial_work), spins_(shared_cores ? 0 : kSpins) {}
  int size() const { return threads_; }

  /// Opens one parallel region: body(worker) on every thread. `work`: multiply-adds between two meetings; a
  /// little is done by the caller alone. The first exception is rethrown when all threads have left.
  template <typename Body>
  void run(std::int64_t work, Body&& body) const {
    if (threads_ == 1 || work < serial_work_) {
      Worker alone(0, 1, nullptr);
      return body(alone);
    }
    Failure failure;
    TeamBarrier barrier(spins_);
    open([&](int index, int size) {
      Worker worker(index, size, &barrier);
      try {
        body(worker);
      } catch (const TeamBarrier::Abandoned&) {
      } catch (...) {
        failure.keep(std::current_exception());
        barrier.abandon();
      }
    });
    failure.rethrow();
  }

  /// Calls body(begin, end) on disjoint ranges that cover [0, count), one range a thread, in a region of its
  /// own. `work`: multiply-adds of all pieces together.
  template <typename Body>
  void for_ranges(std::int64_t count, std::int64_t work, Body&& body) const {
    if (count <= 0) return;
    run(count == 1 ? 0 : work, [&](Worker& worker) {
      const auto [begin, end] = worker.share(count);
      if (begin < end) body(begin, end);
    });
  }

 private:
  static constexpr int kSpins = 4000;

  class Failure {
   public:
    void keep(std::exception_ptr failure) {
      const std::lock_guard lock(mutex_);
      if (!first_) first_ = std::move(failure);
    }
    void rethrow() const {
      if (first_) std::rethrow_exception(first_);
    }

   private:
    std::mutex mutex_;
    std::exception_ptr first_;
  };

  template <typename Start>
  void open(const Start& start) const {
#if defined(__SANITIZE_THREAD__)  // which does not see the OpenMP library's joins, and would call them races
    std::vector<std::thread> others;
    for (int index = 1; index < threads_; ++index)
      others.emplace_back([&start, index, this] { start(index, threads_); });
    start(0, threads_);
    for (std::thread& thread : others) thread.join();
#else
#pragma omp parallel num_threads(threads_)
    start(omp_get_thread_num(), omp_get_num_threads());
#endif
  }

  int threads_;
  std::int64_t serial_work_;
  int spins_;
};

}  // namespace stagformer::internal
