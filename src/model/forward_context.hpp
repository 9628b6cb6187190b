// What every function of the forward pass is handed: one thread's view of a parallel region.
#pragma once

#include "base/phase_clock.hpp"
#include "base/thread_team.hpp"
#include "model/rope_table.hpp"
#include "model/scratch.hpp"
#include "stagformer/config.hpp"

namespace stagformer::internal {

/// Called between layers by the leading thread: the place to move pending messages on.
class LayerHook {
 public:
  virtual ~LayerHook() = default;
  virtual void between_layers() = 0;
};

struct ForwardContext {
  Worker& worker;
  const ModelConfig& config;
  const RopeTable& rope;
  Scratch& scratch;
  PhaseClock& clock;
  LayerHook* hook = nullptr;

  WorkerScratch& own() const { return scratch.workers[static_cast<std::size_t>(worker.index())]; }
  /// The leading thread's time is the rank's: the others wait for it and it for them.
  PhaseClock* leaders_clock() const { return worker.leads() ? &clock : nullptr; }
};

}  // namespace stagformer::internal
