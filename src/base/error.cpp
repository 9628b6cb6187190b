#include "stagformer/error.hpp"

#include "base/check.hpp"

namespace stagformer {

CheckpointError::CheckpointError(const std::string& file, const std::string& dataset,
                                 const std::string& problem)
    : CheckpointError(file + ": " + dataset + ": " + problem) {}

CheckpointError::CheckpointError(const std::string& file, const std::string& dataset,
                                 const std::string& problem, const std::string& expected,
                                 const std::string& found)
    : CheckpointError(file, dataset, problem + " (expected " + expected + ", found " + found + ")") {}

namespace internal {

void check_failed(const char* condition, const char* file, int line, const std::string& values) {
  throw Error(ExitCode::internal, std::string("internal error: ") + condition + " does not hold at " + file +
                                      ":" + std::to_string(line) +
                                      (values.empty() ? "" : ", values" + values));
}

}  // namespace internal
}  // namespace stagformer
