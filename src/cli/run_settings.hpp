// The settings that all subcommands share which run a model.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/settings.hpp"
#include "pipeline/options.hpp"
#include "stagformer/number_format.hpp"

namespace stagformer::internal {

inline constexpr std::int64_t kMostThreads = 4096, kMostSequences = 65536;

struct RunSettings {
  std::optional<std::string> checkpoint;
  std::string schedule = "staggered";
  std::string decode = "exact";
  std::string head = "auto";
  std::string kernels = "native", activations = "int8", cache = "f32";
  std::optional<std::int64_t> threads;
  std::optional<std::int64_t> replicas;
  std::int64_t batch = 8;
  std::int64_t chunk = 64;
  std::optional<std::string> memory_limit;
  bool no_verify = false;
  std::optional<std::string> json;
  std::optional<std::string> trace;
  double stall_timeout = 300;
  std::string log_level = "info";
  std::vector<std::string> delay_section;

  void visit(SettingsVisitor& visitor);
  /// All but those that bench has as lists (schedule, threads, batch) or as one of two (checkpoint).
  void visit_rest(SettingsVisitor& visitor);
  /// Checks the fields that are texts with a form of their own. Throws UsageError.
  void check() const;

  /// What the engine needs of these, still without slots and context. Throws UsageError.
  EngineOptions engine_options() const;
};

/// What --weights names. Throws UsageError.
NumberFormat weights_setting(const std::string& name);

}  // namespace stagformer::internal
