// Every configuration that the project ships parses, and survives the way through its own JSON.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "stagformer/config.hpp"

namespace stagformer {
namespace {

TEST(ConfigFiles, AllParseAndRoundTrip) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(STAGFORMER_SOURCE_DIR "/configs/models")) {
    std::ifstream in(entry.path());
    std::stringstream text;
    text << in.rdbuf();
    const ModelConfig config = ModelConfig::from_json(text.str());
    EXPECT_EQ(ModelConfig::from_json(config.to_json()).to_json(), config.to_json()) << entry.path();
    ++files;
  }
  EXPECT_GE(files, 6);
}

}  // namespace
}  // namespace stagformer
