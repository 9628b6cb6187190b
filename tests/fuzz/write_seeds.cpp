// Writes FOLDER/READER/N: the good files that a fuzzer begins with.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "fuzz/readers.hpp"

int main(int count, char** words) {
  if (count != 2) return std::fprintf(stderr, "usage: fuzz_seeds FOLDER\n"), 2;
  for (const stagformer::fuzz::Reader& reader : stagformer::fuzz::readers()) {
    const std::filesystem::path folder = std::filesystem::path(words[1]) / reader.name;
    std::filesystem::create_directories(folder);
    int number = 0;
    for (const std::string& seed : reader.seeds())
      std::ofstream(folder / std::to_string(number++), std::ios::binary) << seed;
  }
  return 0;
}
