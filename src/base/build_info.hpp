// What was built, for the log, the records and the check that all ranks run the same program.
#pragma once

#include <cstdint>
#include <string>

namespace stagformer::internal {

const char* version();  ///< "0.1.0"
const char*
build_commit();  ///< short hash, "-dirty" behind it where files were changed; "unknown" without git
std::string build_summary();  ///< compiler, build type and flags

/// Fingerprint of the running program's and the library's files.
std::uint64_t program_fingerprint();

}  // namespace stagformer::internal
