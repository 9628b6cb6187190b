// eval --text: the perplexity of a text.
#pragma once

#include "cli/eval_settings.hpp"
#include "cli/model_run.hpp"

namespace stagformer::internal {

/// Collective: everything from the text to the report.
void evaluate_text(ModelRun& run, const EvalSettings& settings);

}  // namespace stagformer::internal
