// MPI from its start to its end, without MPI's header. Writes nothing to stdout.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm/launcher.hpp"
#include "comm/transport.hpp"

namespace stagformer::internal {

/// Owns MPI: initialised here, finalised at the end of life except while an exception unwinds or where it was
/// running before. One at a time; transports of world() must be gone before.
class MpiSession {
 public:
  /// CommError where the library offers less than MPI_THREAD_FUNNELED. `stall_timeout_s`: how long MPI's
  /// start and end, and what world()'s transports do with MPI's blocking calls, may take (CallGuard); <= 0:
  /// any time.
  MpiSession(int& argc, char**& argv, double stall_timeout_s = 0);
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  /// What this process is about to return, for the case that MPI's own end hangs.
  void will_return(int code) { exit_code_ = code; }

  /// Ends all ranks of the job at once. Works without a session too: then it ends this process.
  [[noreturn]] static void abort(int code);

  int rank() const { return rank_; }
  int size() const { return size_; }
  /// This process among those of its host, and their number.
  int local_rank() const { return local_rank_; }
  int local_size() const { return local_size_; }
  /// World rank of the host's first process: tells hosts of one name apart.
  int host_leader() const { return host_leader_; }
  /// "Open MPI 4.1.4"
  std::string library() const;
  /// See launcher.hpp.
  void check_world() const { internal::check_world(size_, library()); }
  /// A transport among all ranks, with the session's stall timeout, that knows their hosts; collective.
  std::unique_ptr<Transport> world() const;

 private:
  void find_neighbours();

  bool owns_ = false;
  double stall_timeout_s_ = 0;
  int rank_ = 0, size_ = 1;
  int local_rank_ = 0, local_size_ = 1;
  int host_leader_ = 0;
  int exit_code_ = 0;
};

/// One host of a job.
struct HostEntry {
  std::string name;
  std::vector<int> ranks;  ///< ascending
};

/// The hosts in the order of their first ranks. `leader` is the same number on all ranks of a host and on no
/// others (MpiSession::host_leader). Collective.
std::vector<HostEntry> host_table(Transport& transport, int leader);

}  // namespace stagformer::internal
