// A file of prompts: results as JSONL, to a file that can be continued or to stdout, and how far it is.
#pragma once

#include <memory>

#include "cli/generate_job.hpp"

namespace stagformer::internal {

std::unique_ptr<GenerateJob> make_prompt_batch(ModelRun& run, const GenerateSettings& settings);

}  // namespace stagformer::internal
