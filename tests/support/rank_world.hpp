// The same test bodies over threads and over MPI: in a program with mpi_main.cpp the ranks are those of the
// MPI world, elsewhere threads.
#pragma once

#include <functional>

#include "comm/local_transport.hpp"
#include "comm/transport.hpp"

namespace stagformer::test {

using RankBody = std::function<void(internal::Transport&)>;

/// The world of an MPI test program, set by its main; null elsewhere.
inline internal::Transport*& mpi_world() {
  static internal::Transport* world = nullptr;
  return world;
}

/// Waits in tests give up after so many seconds, below every ctest timeout.
inline constexpr double kTestStallTimeout = 60;

/// Runs body on n ranks. Over MPI these are the first n of the world (none if it has fewer); all ranks must
/// call.
inline void for_each_rank(int n, const RankBody& body, internal::LocalOptions options = {}) {
  if (options.stall_timeout_s == 0) options.stall_timeout_s = kTestStallTimeout;
  if (mpi_world() == nullptr) return internal::run_local_ranks(n, options, body);
  if (n > mpi_world()->size()) return;
  const bool takes_part = mpi_world()->rank() < n;
  const auto part = mpi_world()->split(takes_part ? 0 : 1);
  part->set_stall_timeout(options.stall_timeout_s);
  if (takes_part) body(*part);
  mpi_world()->barrier();  // no rank splits again before the last is through
}

}  // namespace stagformer::test
