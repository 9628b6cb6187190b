// Replicas share nothing while they work and end at different times. Their leaders (rank 0 of each) report to
// rank 0 of the job: results, signs of life, and the end of their work; they ask it for more prompts when
// slots are about to be free, and it tells them when all are to stop.
//
//     leader of a replica          rank 0 of the job                 all messages are posted: nobody waits
//     ["ask", 2]             ->                                      for one while it has something to do
//                            <-    ["take", [40, 42]]                an empty range: none are left
//     ["result", {...}]      ->    on_result
//     ["alive", load]        ->    on_load; a replica that is silent for too long ends the job
//     ["end", finished]      ->                                      then waits; any of its ranks may still
//     ["stop"]               ->                                      be signalled and sends this
//                            <-    ["stop"]                          to all replicas, after the present step
//                            <-    ["alive"]                         to those that wait
//                            <-    ["end", all_finished]             which the leader passes on to its ranks
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "cli/prompt_queue.hpp"
#include "comm/transport.hpp"
#include "pipeline/generation.hpp"
#include "pipeline/grid.hpp"

namespace stagformer::internal {

class ReplicaReports {
 public:
  struct Events {
    /// On rank 0 of the job: a result that another replica sent, and what each replica is busy with. May be
    /// left out where nothing of the kind is sent.
    std::function<void(const nlohmann::json&)> on_result = {};
    std::function<void(int replica, const GenerationLoad&)> on_load = {};
    /// On any rank: it has been asked to stop.
    std::function<bool()> stop_wanted;
  };
  /// queue: what rank 0 of the job hands out.
  ReplicaReports(Transport& world, const Grid& grid, Events events, const PromptQueue& queue = {});

  /// Leaders of the other replicas: hands a result to rank 0.
  void send(const nlohmann::json& result);
  /// Every rank, in every step; the leaders say what they are busy with. True: the replica is to stop.
  bool step(const GenerationLoad& load = {});
  /// Collective, after the last step: waits for all replicas. finished: this replica did its work to the end.
  /// True: all did.
  bool finish(bool finished);

  // Leaders: one question is under way at most.
  void ask(std::int64_t wanted);
  /// What has come of it.
  std::optional<PromptRange> answer();
  /// Waits for it; none if the replica is to stop.
  std::optional<PromptRange> await_answer();

  bool is_root() const { return world_.rank() == 0; }
  bool leads() const { return grid_.rank_in_replica(world_.rank()) == 0; }

 private:
  struct Replica {
    bool ended = false;
    double silent_s = 0;
  };
  int leader_of(int replica) const { return replica * grid_.ranks_per_replica(); }
  void look_for_stop();
  void send_to_root(const char* kind, const nlohmann::json& value);
  void send_order(int rank, const char* kind, const nlohmann::json& value);
  void note_load(int replica, const GenerationLoad& load);
  void take_messages();
  void take_message(int replica, const nlohmann::json& message);
  void take_orders();
  void stop_all();
  void watch(double now);
  void tell_life(double now, const GenerationLoad& load);
  void wait_for_root(Condition done, const char* what);
  void await_others();
  void await_end(bool finished);

  Transport& world_;
  Grid grid_;
  PromptQueue queue_;
  Events events_;
  std::vector<Replica> replicas_;  // on rank 0
  std::optional<PromptRange> answer_;
  std::optional<bool> end_;  // what rank 0 said last
  double silence_limit_s_ = 0;  // <= 0: none
  double sign_interval_s_, last_sign_s_;
  int orders_ = 0;
  bool asked_ = false;
  bool all_finished_ = true, stopping_ = false, told_to_stop_ = false;
};

}  // namespace stagformer::internal
