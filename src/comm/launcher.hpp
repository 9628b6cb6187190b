// What the environment says about how this process was started. Usable before MPI is initialised.
#pragma once

#include <optional>
#include <string>

namespace stagformer::internal {

struct LauncherInfo {
  int size = 1;          ///< processes that the launcher started
  int rank = 0;          ///< this one's number
  std::string variable;  ///< the environment variable that gave the size
};

/// From the variables of Open MPI, of PMI (MPICH, Intel MPI, Cray) or of a Slurm step, in this order: a
/// launcher inside a Slurm step inherits the step's variables. Nothing if the process was started by itself.
/// SLURM_NTASKS is not looked at: a batch script has it too.
std::optional<LauncherInfo> detect_launcher();

/// CommError if the launcher started several processes but this one is alone in its MPI world, which happens
/// when the launcher belongs to another MPI. `library` as of short_mpi_library_name().
void check_world(int world_size, const std::string& library);

}  // namespace stagformer::internal
