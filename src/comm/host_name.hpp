// The name of the machine that this process runs on.
#pragma once

#include <unistd.h>

#include <array>
#include <string>

namespace stagformer::internal {

inline std::string this_host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "unknown";
  return name.data();
}

}  // namespace stagformer::internal
