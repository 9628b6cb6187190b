// Replicas share nothing while they work and end at different times. Their leaders (rank 0 of each) report to
// rank 0 of the job: results, signs of life, and the end of their share; rank 0 tells them when all are to
// stop.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>

#include "comm/transport.hpp"
#include "pipeline/grid.hpp"

namespace stagformer::internal {

class ReplicaReports {
 public:
  /// on_result: called on rank 0 of the job with each result that another replica sent.
  ReplicaReports(Transport& world, const Grid& grid, std::function<void(const nlohmann::json&)> on_result);

  /// Leaders of the other replicas: hands a result to rank 0. Not null, not a boolean.
  void send(const nlohmann::json& result);
  /// Every rank, in every step. stop: this rank has been asked to. True: the replica is to stop.
  bool step(bool stop);
  /// Collective, after the last step: waits for all replicas. finished: this replica did its share to the
  /// end. True: all did.
  bool finish(bool finished);

 private:
  bool is_root() const { return world_.rank() == 0; }
  bool leads() const { return grid_.rank_in_replica(world_.rank()) == 0; }
  void post(const nlohmann::json& message);
  void take_messages();
  void stop_all();

  Transport& world_;
  Grid grid_;
  std::function<void(const nlohmann::json&)> on_result_;
  double next_sign_s_ = 0;
  int messages_ = 0, replicas_done_ = 0;
  bool all_finished_ = true, stopping_ = false, told_to_stop_ = false;
};

}  // namespace stagformer::internal
