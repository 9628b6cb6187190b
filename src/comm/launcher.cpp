#include "comm/launcher.hpp"

#include <charconv>
#include <cstdlib>
#include <cstring>

#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

std::optional<int> number_in(const char* variable) {
  const char* text = std::getenv(variable);
  if (text == nullptr) return std::nullopt;
  const char* end = text + std::strlen(text);
  int value = 0;
  const auto [stop, error] = std::from_chars(text, end, value);
  if (error != std::errc{} || stop != end || value < 0) return std::nullopt;
  return value;
}

struct Family {
  const char* size;
  const char* ranks[2];  // the first that is set counts
};

constexpr Family kFamilies[] = {
    {"OMPI_COMM_WORLD_SIZE", {"OMPI_COMM_WORLD_RANK", "PMIX_RANK"}},
    {"PMI_SIZE", {"PMI_RANK", "PMIX_RANK"}},
    {"MV2_COMM_WORLD_SIZE", {"MV2_COMM_WORLD_RANK", "PMI_RANK"}},
    {"SLURM_STEP_NUM_TASKS", {"PMIX_RANK", "SLURM_PROCID"}},
    {"MPI_LOCALNRANKS", {"MPI_LOCALRANKID", "PMI_RANK"}},  // this host's only: better than nothing
};

}  // namespace

std::optional<LauncherInfo> detect_launcher() {
  for (const Family& family : kFamilies) {
    const auto size = number_in(family.size);
    if (!size || *size < 1) continue;
    LauncherInfo info{.size = *size, .rank = 0, .variable = family.size};
    for (const char* variable : family.ranks) {
      const auto rank = number_in(variable);
      if (!rank) continue;
      info.rank = *rank;
      break;
    }
    return info;
  }
  return std::nullopt;
}

void check_world(int world_size, const std::string& library) {
  const auto launcher = detect_launcher();
  if (!launcher || launcher->size <= 1 || world_size > 1) return;
  const bool is_open_mpi = library.starts_with("Open MPI");
  throw CommError("started as one of " + std::to_string(launcher->size) + " tasks (" + launcher->variable +
                  ") but alone in its MPI world: this program was built with " + library +
                  "; start it with that library's mpirun or srun --mpi=" + (is_open_mpi ? "pmix" : "pmi2"));
}

}  // namespace stagformer::internal
