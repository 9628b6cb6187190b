// Ranks as threads of one process: for tests, and for runs without MPI.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "comm/transport.hpp"

namespace stagformer::internal {

struct LocalGroup;

/// How messages between threads behave; the defaults are the kindest.
struct LocalOptions {
  bool rendezvous = false;  ///< a send completes only when its receive has taken it; else when it is copied
  double delay_us = 0;      ///< every message arrives that much later
  double random_delay_us =
      0;                   ///< plus a random time up to this; messages of one sender and tag keep their order
  std::uint64_t seed = 0;  ///< of the random delays
  double stall_timeout_s = 0;  ///< <= 0: never
};

/// n endpoints, each to be used by one thread. The endpoints keep what they share alive.
class LocalWorld {
 public:
  using Options = LocalOptions;

  explicit LocalWorld(int ranks, const Options& options = {});
  int size() const;
  std::unique_ptr<Transport> endpoint(int rank) const;
  /// Every wait of every endpoint, split ones included, throws a CommError with this reason. The first reason
  /// stays.
  void poison(const std::string& reason) const;

 private:
  std::shared_ptr<LocalGroup> group_;
};

/// Runs body on n threads, one a rank. Where one throws the others' waits throw too; its exception is
/// rethrown here.
void run_local_ranks(int ranks, const LocalOptions& options, const std::function<void(Transport&)>& body);

}  // namespace stagformer::internal
