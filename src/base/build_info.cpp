#include "base/build_info.hpp"

#include <dlfcn.h>

#include "base/host_info.hpp"
#include "build_commit.hpp"

namespace stagformer::internal {

const char* version() {
  return STAGFORMER_VERSION;
}

const char* build_commit() {
  return STAGFORMER_COMMIT;
}

std::string build_summary() {
  return std::string(STAGFORMER_COMPILER) + ", " + STAGFORMER_BUILD;
}

std::uint64_t program_fingerprint() {
  std::uint64_t fingerprint = file_fingerprint("/proc/self/exe");
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&version), &info) != 0 && info.dli_fname)
    fingerprint = fingerprint * 31 + file_fingerprint(info.dli_fname);
  return fingerprint;
}

}  // namespace stagformer::internal
