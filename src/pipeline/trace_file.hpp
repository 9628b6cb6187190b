// The trace of all ranks as one Chrome/Perfetto file: spans on rank 0's clock, an arrow for every message.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/transport.hpp"
#include "pipeline/grid.hpp"
#include "pipeline/trace.hpp"
#include "pipeline/trace_clock.hpp"

namespace stagformer::internal {

/// One rank's records, times on rank 0's clock.
struct RankTrace {
  std::string host;
  double clock_error_s = 0;
  std::uint64_t dropped = 0;
  std::vector<TraceSpan> spans;
  std::vector<TraceMessage> messages;
};

/// A message whose two ends are known; ranks as in the whole job.
struct TraceArrow {
  TraceMessage::Kind kind = TraceMessage::Kind::states;
  int from = 0, to = 0;
  std::int64_t pass = 0;
  double sent_s = 0, taken_s = 0;
};

/// Entry r is rank r's. Every message that both ends have seen; of candidates, which everybody sends to
/// everybody, those of the rank that sent last, for whom the others wait.
std::vector<TraceArrow> arrows_of(const std::vector<RankTrace>& ranks, const Grid& grid);

/// JSON: pid = rank, times in microseconds from the earliest span; flow events ("s" and "f" of one id) lie
/// inside of the spans that they belong to.
std::string trace_json(const std::vector<RankTrace>& ranks, const Grid& grid);

/// Collective: all ranks' records on rank 0, nothing elsewhere.
std::vector<RankTrace> gather_trace(Transport& world, const Trace& trace, const TraceClock& clock);

}  // namespace stagformer::internal
