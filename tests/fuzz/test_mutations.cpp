// Ten thousand damaged files over all readers: each is refused by an error or read, without a crash, a hang,
// or memory that the file's size does not explain.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <new>

#include "checkpoint/hdf5_guard.hpp"
#include "fuzz/mutate.hpp"
#include "fuzz/readers.hpp"
#include "stagformer/error.hpp"

namespace stagformer::fuzz {
namespace {

constexpr std::uint64_t kMutations = 1000;       // of each reader
constexpr unsigned kSecondsAnInput = 60;         // what is taken for a hang on a busy machine
constexpr int kMostFaults = 20;                  // that are shown
constexpr rlim_t kMoreMemory = rlim_t{1} << 30;  // bytes beyond what the process has when it begins

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // their shadow takes all addresses there are
#else
constexpr bool kSanitized = false;
#endif

/// What the child tells its parent, also when it dies.
struct Progress {
  std::uint64_t number = 0;
  char problem[256] = {};
};

void limit_memory() {
  long pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const rlim_t most = static_cast<rlim_t>(pages) * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + kMoreMemory;
  const rlimit limit{most, most};
  setrlimit(RLIMIT_AS, &limit);
}

/// From progress.number on.
void read_all(const Reader& reader, Progress& progress) {
  const std::vector<std::string> seeds = reader.seeds();
  if (!kSanitized) limit_memory();
  for (; progress.number < kMutations; ++progress.number) {
    const std::string bytes = mutation(seeds, progress.number);
    alarm(kSecondsAnInput);
    try {
      (void)reader.refusal(std::as_bytes(std::span(bytes)));
    } catch (const std::exception& error) {
      std::snprintf(progress.problem, sizeof progress.problem, "%s", error.what());
      return;
    }
    alarm(0);
  }
}

std::string save(const Reader& reader, std::uint64_t number) {
  const std::string path = testing::TempDir() + "stagformer-" + reader.name + "-" + std::to_string(number);
  const std::string bytes = mutation(reader.seeds(), number);
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return path;
}

/// In a process of its own; what went wrong with the file that progress stands at, empty where none did.
std::string read_in_child(const Reader& reader, Progress& progress) {
  progress.problem[0] = '\0';
  const pid_t child = fork();
  if (child < 0) return std::strerror(errno);
  if (child == 0) {
    internal::Hdf5Guard::enable();
    read_all(reader, progress);
    _exit(0);
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child) return std::strerror(errno);
  if (WIFSIGNALED(status)) return strsignal(WTERMSIG(status));
  const bool refused = WEXITSTATUS(status) == static_cast<int>(ExitCode::checkpoint);  // by Hdf5Guard
  if (WEXITSTATUS(status) != 0 && !refused) return "exit code " + std::to_string(WEXITSTATUS(status));
  return progress.problem;
}

class Mutations : public testing::TestWithParam<const char*> {};

TEST_P(Mutations, AreRefusedOrRead) {
  const Reader& reader = reader_named(GetParam());
  void* shared = mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(shared, MAP_FAILED);
  auto* progress = new (shared) Progress;
  for (int faults = 0; progress->number < kMutations && faults < kMostFaults; ++progress->number) {
    const std::string problem = read_in_child(reader, *progress);
    if (problem.empty()) continue;
    ++faults;
    ADD_FAILURE() << reader.name << ": mutation " << progress->number << ", saved as "
                  << save(reader, progress->number) << ": " << problem;
  }
  munmap(shared, sizeof(Progress));
}

/// The good files themselves are read: a reader that refuses everything would pass the test above.
TEST_P(Mutations, SeedsAreRead) {
  const Reader& reader = reader_named(GetParam());
  ASSERT_FALSE(reader.seeds().empty());
  for (const std::string& seed : reader.seeds()) {
    ASSERT_FALSE(seed.empty());
    EXPECT_EQ(reader.refusal(std::as_bytes(std::span(seed))).value_or(""), "");
  }
}

/// Lists inside of lists in place of every value: what calls itself level by level overflows the stack.
TEST_P(Mutations, DeepListsAreNoTrouble) {
  constexpr std::size_t kDepth = 100000;
  const std::string deep = std::string(kDepth, '[') + std::string(kDepth, ']');
  const Reader& reader = reader_named(GetParam());
  const std::string seed = reader.seeds().front();
  constexpr std::size_t kMostPlaces = 40;
  std::size_t at = seed.find(':');
  for (std::size_t i = 0; i < kMostPlaces && at != std::string::npos; ++i, at = seed.find(':', at + 1)) {
    const std::string bytes =
        std::string(seed).replace(at + 1, seed.find_first_of(",}\n", at) - at - 1, deep);
    (void)reader.refusal(std::as_bytes(std::span(bytes)));
  }
}

/// Found by launch/fuzz: the library ended the process over a piece of zeros.
TEST(Sentencepiece, APieceOfZerosIsRefused) {
  const Reader& reader = reader_named("sentencepiece");
  std::string model = reader.seeds().front();
  const std::size_t at = model.find("</s>");
  ASSERT_NE(at, std::string::npos);
  model.replace(at, 4, 4, '\0');
  EXPECT_NE(reader.refusal(std::as_bytes(std::span(model))).value_or("").find("piece 2 holds the byte 0"),
            std::string::npos);
}

std::vector<const char*> names() {
  std::vector<const char*> all;
  for (const Reader& reader : readers()) all.push_back(reader.name);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Readers, Mutations, testing::ValuesIn(names()),
                         [](const auto& chosen) { return std::string(chosen.param); });

TEST(Mutation, IsTheSameEverywhereAndDiffers) {
  const std::vector<std::string> seeds = {"{\"key\": 12345, \"list\": [1, 2, 3]}"};
  EXPECT_EQ(mutation(seeds, 7), mutation(seeds, 7));
  int changed = 0;
  for (std::uint64_t number = 0; number < 100; ++number) changed += mutation(seeds, number) != seeds[0];
  EXPECT_GT(changed, 90);
}

}  // namespace
}  // namespace stagformer::fuzz
