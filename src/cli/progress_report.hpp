// Shows the progress of a batch while it runs: on a terminal as a line that rewrites itself, else as log
// lines at growing intervals.
#pragma once

#include <cstdint>
#include <optional>

#include "cli/progress.hpp"
#include "cli/status_line.hpp"

namespace stagformer::internal {

class ProgressReport {
 public:
  ProgressReport(int replicas, std::int64_t done);

  void expect(std::int64_t max_tokens) { progress_.expect(max_tokens); }
  void add_result(std::int64_t max_tokens, std::int64_t tokens, bool by_itself) {
    progress_.add_result(max_tokens, tokens, by_itself);
  }
  void set_load(int replica, const GenerationLoad& load) { progress_.set_load(replica, load); }
  /// Between steps, however short: shows what there is where it is time to.
  void tick();
  /// Before something is written to stdout: where that is a terminal, too, clears the line until the next
  /// tick.
  void make_way();

 private:
  Progress progress_;
  std::optional<StatusLine> line_;
  bool is_logged_, stdout_is_terminal_;
  double interval_s_, next_s_;
};

}  // namespace stagformer::internal
