#include "comm/mpi_communicator.hpp"

#include <mpi.h>

#include <cstring>

#include "comm/mpi_check.hpp"
#include "comm/mpi_transport.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

#if defined(OPEN_MPI)
constexpr const char* kBuiltWith = "Open MPI";
#elif defined(MPICH_VERSION) || defined(I_MPI_VERSION)
constexpr const char* kBuiltWith = "MPICH";  // and what shares its binary interface
#else
constexpr const char* kBuiltWith = "";
#endif

bool is_open_mpi(const std::string& version_text) {
  return version_text.starts_with("Open MPI");
}

std::string without_end(std::string text) {
  while (!text.empty() && (text.back() == '\0' || text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

/// Two MPI libraries in one process: nothing of one means anything to the other.
void check_same_library(std::size_t handle_bytes, const std::string& library) {
  const std::string own = mpi_library_text();
  const bool is_built_with_open_mpi = std::string(kBuiltWith) == "Open MPI";
  if (handle_bytes == sizeof(MPI_Comm) && without_end(library) == without_end(own) &&
      is_open_mpi(own) == is_built_with_open_mpi)
    return;
  throw CommError("the communicator is one of " + short_mpi_library_name(library) + " (handles of " +
                  std::to_string(handle_bytes) + " bytes), but libstagformer was built with " + kBuiltWith +
                  " (" + std::to_string(sizeof(MPI_Comm)) + " bytes) and runs with " +
                  short_mpi_library_name(own) + ": build both with the same MPI");
}

void check_running() {
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized == 0) throw CommError("MPI is not initialised: call MPI_Init_thread before");
  if (finalized != 0) throw CommError("MPI has been finalised already");
}

int thread_level() {
  int level = MPI_THREAD_SINGLE;
  mpi_check(MPI_Query_thread(&level), "MPI_Query_thread");
  return level;
}

void check_communicator(MPI_Comm communicator) {
  if (communicator == MPI_COMM_NULL)
    throw CommError("the communicator is MPI_COMM_NULL: ranks outside do not take part");
  int joins_two_groups = 0;
  mpi_check(MPI_Comm_test_inter(communicator, &joins_two_groups), "MPI_Comm_test_inter");
  if (joins_two_groups != 0) throw CommError("the communicator is an intercommunicator");
}

}  // namespace

std::unique_ptr<Transport> mpi_communicator(const void* address, std::size_t handle_bytes,
                                            const std::string& library) {
  check_same_library(handle_bytes, library);
  check_running();
  check_mpi_thread();
  MPI_Comm communicator = MPI_COMM_NULL;
  std::memcpy(&communicator, address, sizeof communicator);
  check_communicator(communicator);
  auto transport = std::make_unique<MpiTransport>(communicator);
  transport->learn_hosts();
  return transport;
}

bool mpi_allows_threads() {
  return thread_level() >= MPI_THREAD_FUNNELED;
}

void check_mpi_thread() {
  check_running();
  if (thread_level() >= MPI_THREAD_SERIALIZED) return;
  int is_main = 0;
  mpi_check(MPI_Is_thread_main(&is_main), "MPI_Is_thread_main");
  if (is_main == 0)
    throw CommError(
        "a call from another thread than the one that initialised MPI, which was asked for less than "
        "MPI_THREAD_SERIALIZED");
}

}  // namespace stagformer::internal
