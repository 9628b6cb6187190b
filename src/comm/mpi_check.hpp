// Return codes of MPI calls, as exceptions with MPI's own words.
#pragma once

#include <cstddef>
#include <string>

namespace stagformer::internal {

/// Throws CommError "host n1: MPI_X: <MPI's text>" unless `code` is MPI_SUCCESS.
void mpi_check(int code, const char* call);

/// Bytes as MPI's int count; CommError naming `what` where they do not fit.
int mpi_count(std::size_t bytes, const char* what);

/// "Open MPI 4.1.4" or "MPICH 4.0.2" from the text of MPI_Get_library_version.
std::string short_mpi_library_name(const std::string& version_text);
/// MPI_Get_library_version in one line.
std::string mpi_library_text();

}  // namespace stagformer::internal
