// Every failure that a user can cause or meet, each kind with its own exit code.
#pragma once

#include <stdexcept>
#include <string>

namespace stagformer {

/// Exit codes of the program; documented in docs/command-line.md.
enum class ExitCode : int {
  success = 0,
  usage = 2,          ///< wrong flags or flag values
  config = 3,         ///< model configuration, or a world size that fits no grid
  checkpoint = 4,     ///< missing, damaged or unfit checkpoint
  communication = 5,  ///< a rank is lost, stuck, or differs from the others
  input = 6,          ///< prompts, texts, output files
  memory = 7,         ///< the plan does not fit the memory limit
  interrupted = 8,    ///< stopped by a signal, resumable
  numeric = 9,        ///< values that are not finite
  internal = 10,      ///< a broken promise inside the program
};

/// Base of all errors. what() is one line without the program's name.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

class UsageError : public Error {
 public:
  explicit UsageError(const std::string& message) : Error(ExitCode::usage, message) {}
};

class ConfigError : public Error {
 public:
  explicit ConfigError(const std::string& message) : Error(ExitCode::config, message) {}
};

/// What is wrong in which file and dataset: "FILE: DATASET: PROBLEM (expected E, found F)".
class CheckpointError : public Error {
 public:
  explicit CheckpointError(const std::string& message) : Error(ExitCode::checkpoint, message) {}
  CheckpointError(const std::string& file, const std::string& dataset, const std::string& problem);
  CheckpointError(const std::string& file, const std::string& dataset, const std::string& problem,
                  const std::string& expected, const std::string& found);
};

class CommError : public Error {
 public:
  explicit CommError(const std::string& message) : Error(ExitCode::communication, message) {}
};

class InputError : public Error {
 public:
  explicit InputError(const std::string& message) : Error(ExitCode::input, message) {}
};

class MemoryError : public Error {
 public:
  explicit MemoryError(const std::string& message) : Error(ExitCode::memory, message) {}
};

class NumericError : public Error {
 public:
  explicit NumericError(const std::string& message) : Error(ExitCode::numeric, message) {}
};

}  // namespace stagformer
