#include "comm/mpi_check.hpp"

#include <mpi.h>

#include <algorithm>
#include <array>
#include <limits>

#include "stagformer/error.hpp"

namespace stagformer::internal {

void mpi_check(int code, const char* call) {
  if (code == MPI_SUCCESS) [[likely]]
    return;
  std::array<char, MPI_MAX_ERROR_STRING + 1> text{};
  int length = 0;
  if (MPI_Error_string(code, text.data(), &length) != MPI_SUCCESS) length = 0;
  std::string words(text.data(), static_cast<std::size_t>(length));
  std::ranges::replace(words, '\n', ' ');
  throw CommError(std::string(call) + ": " + (words.empty() ? "error " + std::to_string(code) : words));
}

int mpi_count(std::size_t bytes, const char* what) {
  constexpr auto kMost = static_cast<std::size_t>(std::numeric_limits<int>::max());
  if (bytes > kMost)
    throw CommError(std::string(what) + " of " + std::to_string(bytes) + " bytes: MPI takes at most " +
                    std::to_string(kMost));
  return static_cast<int>(bytes);
}

std::string short_mpi_library_name(const std::string& version_text) {
  // "Open MPI v4.1.4, package: ..." and "MPICH Version:\t4.0.2\nMPICH Release date: ..."
  std::string name = version_text.substr(0, version_text.find_first_of(",\n"));
  for (const char* noise : {"Version:", "v"}) {
    const auto at = name.find(std::string(" ") + noise);
    if (at != std::string::npos) name.erase(at + 1, std::char_traits<char>::length(noise));
  }
  std::ranges::replace(name, '\t', ' ');
  const auto both_blank = [](char a, char b) { return a == ' ' && b == ' '; };
  name.erase(std::unique(name.begin(), name.end(), both_blank), name.end());
  while (!name.empty() && (name.back() == ' ' || name.back() == '\0')) name.pop_back();
  return name;
}

std::string mpi_library_text() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING + 1> text{};
  int length = 0;
  mpi_check(MPI_Get_library_version(text.data(), &length), "MPI_Get_library_version");
  return text.data();
}

}  // namespace stagformer::internal
