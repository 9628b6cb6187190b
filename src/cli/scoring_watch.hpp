// While replicas score their shares: signs of life, stops, and a line on stderr now and then.
#pragma once

#include <cstddef>
#include <string>

#include "cli/model_run.hpp"
#include "cli/replica_reports.hpp"

namespace stagformer::internal {

class ScoringWatch {
 public:
  /// unit: what is counted, "windows"; total: of all replicas.
  ScoringWatch(ModelRun& run, std::string unit, std::size_t total);
  /// After every pass; done: of this replica.
  void step(std::size_t done);
  /// Collective, at the end. Throws where a signal stopped any replica.
  void finish(bool finished);

 private:
  ModelRun& run_;
  std::string unit_;
  std::size_t total_;
  ReplicaReports reports_;
  double next_line_s_;
};

}  // namespace stagformer::internal
