// A model on the ranks of an MPI communicator. The only public header that includes mpi.h.
//
// MPI is the program's: it initialises it before (MPI_THREAD_FUNNELED is enough, and then the calls come from
// the main thread; a rank of one thread needs no more than MPI_Init) and finalises it behind the last model.
#pragma once

#include <mpi.h>

#include <array>
#include <string>

#include "stagformer/engine.hpp"

namespace stagformer {

/// Collective over `communicator`, which is duplicated and stays the caller's; its error handler is not
/// changed. As many ranks as the model has sections, a divisor of that, or a multiple (replicas); else
/// ConfigError. Every rank names a path under which it finds the same checkpoint. Throws as Model's
/// constructor does, the same on all ranks, and CommError where `communicator` is none, is an
/// intercommunicator or belongs to another MPI than the library, where MPI is not running, or where the
/// ranks' options differ.
inline Model load(MPI_Comm communicator, const std::string& checkpoint, const LoadOptions& options = {}) {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING + 1> library{};
  int length = 0;
  MPI_Get_library_version(library.data(), &length);
  return internal::load_on({&communicator, sizeof communicator, library.data()}, checkpoint, options);
}

}  // namespace stagformer
