// What is read from the environment of a launcher, and the refusal to run as n programs of one rank.
#include "comm/launcher.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "comm/mpi_check.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

const char* const kVariables[] = {"OMPI_COMM_WORLD_SIZE",
                                  "OMPI_COMM_WORLD_RANK",
                                  "PMI_SIZE",
                                  "PMI_RANK",
                                  "PMIX_RANK",
                                  "MV2_COMM_WORLD_SIZE",
                                  "MV2_COMM_WORLD_RANK",
                                  "SLURM_STEP_NUM_TASKS",
                                  "SLURM_PROCID",
                                  "SLURM_NTASKS",
                                  "MPI_LOCALNRANKS",
                                  "MPI_LOCALRANKID"};

// The environment holds these of kVariables and no others.
void set_environment(const std::map<std::string, std::string>& values) {
  for (const char* variable : kVariables) unsetenv(variable);
  for (const auto& [name, value] : values) setenv(name.c_str(), value.c_str(), 1);
}

TEST(Launcher, NothingMeansStartedByItself) {
  set_environment({});
  EXPECT_FALSE(detect_launcher().has_value());
  EXPECT_NO_THROW(check_world(1, "Open MPI 4.1.4"));
}

TEST(Launcher, ABatchScriptsNumberOfTasksDoesNotCount) {
  set_environment({{"SLURM_NTASKS", "64"}, {"SLURM_PROCID", "0"}});
  EXPECT_FALSE(detect_launcher().has_value());
}

TEST(Launcher, KnowsTheFamiliesOfVariables) {
  struct Case {
    std::map<std::string, std::string> environment;
    int size, rank;
  };
  const Case cases[] = {
      {{{"OMPI_COMM_WORLD_SIZE", "8"}, {"OMPI_COMM_WORLD_RANK", "3"}}, 8, 3},
      {{{"PMI_SIZE", "5"}, {"PMI_RANK", "4"}}, 5, 4},
      {{{"SLURM_STEP_NUM_TASKS", "6"}, {"SLURM_PROCID", "2"}, {"SLURM_NTASKS", "99"}}, 6, 2},
      {{{"SLURM_STEP_NUM_TASKS", "6"}, {"PMIX_RANK", "5"}}, 6, 5},
      {{{"MPI_LOCALNRANKS", "2"}, {"MPI_LOCALRANKID", "1"}}, 2, 1},
      // mpirun inside Slurm: its daemons are a step of one task a host, the ranks inherit that step's
      // variables.
      {{{"SLURM_STEP_NUM_TASKS", "2"},
        {"SLURM_PROCID", "1"},
        {"OMPI_COMM_WORLD_SIZE", "16"},
        {"OMPI_COMM_WORLD_RANK", "9"}},
       16,
       9},
      {{{"OMPI_COMM_WORLD_SIZE", "many"}, {"PMI_SIZE", "3"}, {"PMI_RANK", "1"}}, 3, 1},
  };
  for (const Case& known : cases) {
    set_environment(known.environment);
    const auto found = detect_launcher();
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->size, known.size) << found->variable;
    EXPECT_EQ(found->rank, known.rank) << found->variable;
  }
}

TEST(Launcher, AloneAmongSeveralIsRefusedWithTheWayOut) {
  set_environment({{"SLURM_STEP_NUM_TASKS", "4"}, {"SLURM_PROCID", "1"}});
  try {
    check_world(1, "Open MPI 4.1.4");
    FAIL();
  } catch (const CommError& error) {
    EXPECT_STREQ(
        error.what(),
        "started as one of 4 tasks (SLURM_STEP_NUM_TASKS) but alone in its MPI world: this program was built "
        "with Open MPI 4.1.4; start it with that library's mpirun or srun --mpi=pmix");
  }
  EXPECT_THROW(check_world(1, "MPICH 4.0.2"), CommError);
  EXPECT_NO_THROW(check_world(4, "Open MPI 4.1.4"));
  set_environment({{"PMI_SIZE", "1"}, {"PMI_RANK", "0"}});
  EXPECT_NO_THROW(check_world(1, "Open MPI 4.1.4"));
}

TEST(Launcher, LibraryNamesAreShortened) {
  EXPECT_EQ(short_mpi_library_name(
                "Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4, repo rev: v4.1.4, May 26"),
            "Open MPI 4.1.4");
  EXPECT_EQ(short_mpi_library_name("MPICH Version:\t4.0.2\nMPICH Release date:\tThu Apr  7\n"),
            "MPICH 4.0.2");
  EXPECT_EQ(short_mpi_library_name("Intel(R) MPI Library 2021.11 for Linux* OS\n"),
            "Intel(R) MPI Library 2021.11 for Linux* OS");
  EXPECT_EQ(short_mpi_library_name(""), "");
}

}  // namespace
}  // namespace stagformer::internal
