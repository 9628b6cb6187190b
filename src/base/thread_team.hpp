// The threads of one rank. Work is cut into fixed pieces; which thread does a piece never changes a result.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <mutex>

namespace stagformer::internal {

class ThreadTeam {
 public:
  explicit ThreadTeam(int threads) : threads_(threads < 1 ? 1 : threads) {}
  int size() const { return threads_; }

  /// Calls body(begin, end) on disjoint ranges that cover [0, count), one range a thread. The first exception
  /// is rethrown.
  template <typename Body>
  void for_ranges(std::int64_t count, Body&& body) const {
    if (count <= 0) return;
    if (threads_ == 1 || count == 1) return body(std::int64_t{0}, count);
    std::exception_ptr failure;
    std::mutex failure_mutex;
#pragma omp parallel num_threads(threads_)
    {
      const std::int64_t team = omp_get_num_threads(), me = omp_get_thread_num();
      const std::int64_t begin = count * me / team, end = count * (me + 1) / team;
      try {
        if (begin < end) body(begin, end);
      } catch (...) {
        const std::lock_guard lock(failure_mutex);
        if (!failure) failure = std::current_exception();
      }
    }
    if (failure) std::rethrow_exception(failure);
  }

 private:
  int threads_;
};

}  // namespace stagformer::internal
