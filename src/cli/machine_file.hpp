// Machine files, as bench --calibrate writes them. Errors name the file: InputError where it cannot be read,
// ConfigError for what stands in it.
#pragma once

#include <string>

#include "comm/transport.hpp"
#include "pipeline/machine.hpp"

namespace stagformer::internal {

Machine read_machine(const std::string& path);

/// Collective: rank 0 reads the file and hands it round.
Machine read_machine(Transport& world, const std::string& path);

}  // namespace stagformer::internal
