// Every checkpoint that the Python reference wrote loads, and every byte of it is what its checksum says.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/index.hpp"
#include "checkpoint/tensor_reader.hpp"
#include "kernels/packed_matrix.hpp"

namespace stagformer::internal {
namespace {

std::vector<std::string> golden_checkpoints() {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(STAGFORMER_GOLDEN_DIR)) {
    const std::string name = entry.path().filename().string();
    const bool section = name.find(".section-") != std::string::npos;
    if (entry.path().extension() == ".h5" && entry.path().stem().extension() != ".golden" && !section)
      paths.push_back(entry.path().string());
  }
  return paths;
}

TEST(Golden, EveryCheckpointLoadsAndVerifies) {
  const std::vector<std::string> paths = golden_checkpoints();
  ASSERT_FALSE(paths.empty());
  for (const std::string& path : paths) {
    SCOPED_TRACE(path);
    const CheckpointIndex index = read_checkpoint_index(path);
    for (const std::string& warning : index.warnings) ADD_FAILURE() << warning;
    TensorReader reader(index, true);
    for (const auto& [name, info] : index.datasets) {
      EXPECT_TRUE(info.checksum) << name;
      std::vector<std::byte> stored(static_cast<std::size_t>(info.bytes));
      reader.read(name, stored);
      EXPECT_EQ(first_non_finite_row(info.format, info.rows(), info.columns(), stored.data()), -1) << name;
    }
  }
}

}  // namespace
}  // namespace stagformer::internal
