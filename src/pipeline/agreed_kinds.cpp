#include "pipeline/agreed_kinds.hpp"

namespace stagformer::internal {

void throw_as_its_kind(const AgreedError& error) {
  const std::string message = error.what();
  switch (error.code()) {
    case ExitCode::usage:
      throw UsageError(message);
    case ExitCode::config:
      throw ConfigError(message);
    case ExitCode::checkpoint:
      throw CheckpointError(message);
    case ExitCode::communication:
      throw CommError(message);
    case ExitCode::input:
      throw InputError(message);
    case ExitCode::memory:
      throw MemoryError(message);
    case ExitCode::numeric:
      throw NumericError(message);
    default:
      throw Error(error.code(), message);
  }
}

}  // namespace stagformer::internal
