// Preloaded by test_stuck.py: rank 1 stops itself, as SIGSTOP from outside would stop it, in the STOP_AT-th
// call (from 1) of the function STOP_IN. With STOP_AT = 0 it says at the end how many calls there were.
#include <mpi.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace {

int calls = 0;

bool is_rank_1() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMI_RANK"})
    if (const char* rank = std::getenv(name)) return std::strcmp(rank, "1") == 0;
  return false;
}

void note(const char* call) {
  const char* wanted = std::getenv("STOP_IN");
  const char* at = std::getenv("STOP_AT");
  if (!wanted || !at || !is_rank_1()) return;
  if (std::strcmp(call, wanted) == 0 && ++calls == std::atoi(at)) std::raise(SIGSTOP);
  if (std::strcmp(call, "MPI_Finalize") == 0 && std::atoi(at) == 0)
    std::fprintf(stderr, "calls: %d\n", calls);
}

}  // namespace

extern "C" {

int MPI_Init_thread(int* argc, char*** argv, int required, int* provided) {
  note("MPI_Init_thread");
  return PMPI_Init_thread(argc, argv, required, provided);
}

int MPI_Comm_dup(MPI_Comm comm, MPI_Comm* copy) {
  note("MPI_Comm_dup");
  return PMPI_Comm_dup(comm, copy);
}

int MPI_Comm_split(MPI_Comm comm, int colour, int key, MPI_Comm* part) {
  note("MPI_Comm_split");
  return PMPI_Comm_split(comm, colour, key, part);
}

int MPI_Iallgather(const void* mine, int count, MPI_Datatype type, void* all, int each, MPI_Datatype all_type,
                   MPI_Comm comm, MPI_Request* request) {
  note("MPI_Iallgather");
  return PMPI_Iallgather(mine, count, type, all, each, all_type, comm, request);
}

int MPI_Start(MPI_Request* request) {
  note("MPI_Start");
  return PMPI_Start(request);
}

int MPI_Finalize() {
  note("MPI_Finalize");
  return PMPI_Finalize();
}
}
