// What the host offers this process: cores it may use, memory that is free.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace stagformer::internal {

/// Numbers of the cores that this process may run on, ascending.
std::vector<int> usable_cores();

/// "0-3,8": ranges of ascending numbers.
std::string core_list(const std::vector<int>& cores);

/// Bytes that could still be taken without swapping: the kernel's estimate, cut by the control group's limit.
std::int64_t available_memory();

/// "1.5 GiB", "312 KiB"
std::string format_bytes(std::int64_t bytes);

/// 16 digits.
std::string hexadecimal(std::uint64_t value);

/// Fingerprint of a file's bytes (FNV-1a, 64 bits); 0 where it cannot be read.
std::uint64_t file_fingerprint(const std::string& path);

}  // namespace stagformer::internal
