// eval --pairs, --choices and --requests: log-probabilities of endings.
#pragma once

#include "cli/eval_settings.hpp"
#include "cli/model_run.hpp"

namespace stagformer::internal {

/// Collective: everything from the file to the report.
void evaluate_items(ModelRun& run, const EvalSettings& settings);

}  // namespace stagformer::internal
