// Text from files, to files and to standard output. Every failure is an InputError with the system's reason.
#pragma once

#include <string>

namespace stagformer::internal {

/// All bytes of a file.
std::string read_file(const std::string& path);

/// Writes to a temporary file beside it and renames; what is no ordinary file (/dev/stderr, a pipe) is written directly.
void write_file_atomically(const std::string& path, const std::string& text);

/// Fails early where write_file_atomically would fail late; leaves nothing behind.
void check_writable(const std::string& path);

/// Writes and flushes.
void write_stdout(const std::string& text);

}  // namespace stagformer::internal
