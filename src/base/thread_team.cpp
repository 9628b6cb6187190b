#include "base/thread_team.hpp"

#include <sched.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace stagformer::internal {
namespace {

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

void TeamBarrier::wait_for(std::uint32_t round) {
  for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins) {
    if (failed_.load(std::memory_order_acquire)) throw Abandoned{};
    if (spins < spins_)
      relax();
    else
      sched_yield();
  }
}

}  // namespace stagformer::internal
