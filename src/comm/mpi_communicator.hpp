// Ranks of a communicator that belongs to another part of the program, which owns MPI. Without MPI's header.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "comm/transport.hpp"

namespace stagformer::internal {

/// Collective: a transport over duplicates of the communicator at `address`. `handle_bytes` and `library` are
/// sizeof(MPI_Comm) and MPI_Get_library_version where it comes from. CommError where that is another MPI,
/// where MPI is not running or this thread may not call it, and where the communicator is null or joins two
/// groups.
std::unique_ptr<Transport> mpi_communicator(const void* address, std::size_t handle_bytes,
                                            const std::string& library);

/// MPI was asked for MPI_THREAD_FUNNELED at least: beside the thread that calls it there may be others.
bool mpi_allows_threads();

/// CommError where this thread may not call MPI: another one than the main thread, below
/// MPI_THREAD_SERIALIZED; or where MPI has been finalised.
void check_mpi_thread();

}  // namespace stagformer::internal
