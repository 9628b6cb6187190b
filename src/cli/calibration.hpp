// bench --calibrate: measures what a machine file holds, by small random models that run in the engine itself
// and by messages between the first two ranks.
#pragma once

#include <optional>
#include <string>

#include "cli/bench_settings.hpp"
#include "comm/mpi_session.hpp"
#include "pipeline/machine.hpp"

namespace stagformer::internal {

/// A machine in words: lines of Markdown.
std::string machine_table(const Machine& machine);

/// Collective: every rank runs models of its own at the same time as the others, so that what the ranks of a
/// host share is shared. The same machine on all ranks; takes a minute. `base`: measure the links alone,
/// everything else stays as it is there.
Machine calibrate(const MpiSession& session, const BenchSettings& settings, const std::string& command_line,
                  const std::optional<Machine>& base);

}  // namespace stagformer::internal
