// How a model is run; every field is a flag of the subcommands that run one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/attention.hpp"

namespace stagformer::internal {

enum class Schedule { staggered, sequential };
enum class DecodeMode { exact, recurrent };
enum class HeadMode { automatic, sliced, last };

/// An artificial pause in front of a section's layers, for studies of the schedule.
struct SectionDelay {
  int section = 0;
  double seconds = 0;
};

struct EngineOptions {
  Schedule schedule = Schedule::staggered;
  DecodeMode decode = DecodeMode::exact;
  HeadMode head = HeadMode::automatic;
  int threads = 1;
  int slots = 1;               ///< sequences at a time
  std::int64_t context = 0;    ///< positions a sequence, prompt and generated tokens
  std::int64_t chunk = 64;     ///< most rows of one pass (prompt positions a chunk)
  int draft = 0;               ///< tokens a sequence that the last section guesses ahead of a step
  int top = 0;                 ///< likeliest tokens that a read-out may be asked to report
  bool share_prefixes = true;  ///< prompts that begin as another one are computed from where they differ
  CacheFormat cache_format = CacheFormat::f32;
  bool score_all_rows = false;  ///< room for a read-out of every row of a chunk (evaluation)
  bool keep_outputs = false;    ///< keep the sections' outputs of the last pass for inspection
  std::vector<SectionDelay> delays;
  bool emulated = false;  ///< no weights: ranks sleep as long as Engine::emulate() says, messages are real

  /// Most rows of a decode step: a sequence's token and what was guessed behind it.
  std::int64_t step_rows() const { return std::int64_t{slots} * (draft + 1); }
  /// Most rows of any pass, and most of them that are read out.
  std::int64_t pass_rows() const { return std::max(chunk, step_rows()); }
  std::int64_t readout_rows() const { return score_all_rows ? pass_rows() : step_rows(); }
};

}  // namespace stagformer::internal
