// Messages of any size at any time over one communicator: what Transport::post() and poll() do under MPI.
#pragma once

#include <mpi.h>

#include <list>
#include <map>
#include <optional>
#include <utility>

#include "comm/transport.hpp"

namespace stagformer::internal {

class MpiPosts {
 public:
  /// The communicator stays the caller's.
  explicit MpiPosts(MPI_Comm comm) : comm_(comm) {}

  void post(Bytes bytes, int peer, int tag);
  /// A message that is wholly here. One that has begun to arrive is taken up by a later call: never waits.
  std::optional<std::pair<int, Bytes>> poll(int tag);
  /// Forgets what has left; true when nothing is on its way out.
  bool all_left();
  /// For the end: hands requests still in flight to MPI, and their memory with them (on purpose never freed).
  void abandon();

 private:
  struct InFlight {
    int peer = 0;
    Bytes bytes;
    MPI_Request request = MPI_REQUEST_NULL;
  };
  bool begin_receive(int tag);

  MPI_Comm comm_;
  std::list<InFlight> leaving_;
  std::map<int, InFlight> arriving_;  // by tag, at most one each
};

}  // namespace stagformer::internal
