// One prompt: its text goes to stdout as it comes.
#pragma once

#include <memory>

#include "cli/generate_job.hpp"

namespace stagformer::internal {

std::unique_ptr<GenerateJob> make_single_prompt(ModelRun& run, const GenerateSettings& settings);

}  // namespace stagformer::internal
