// What one rank did when: a fixed number of spans, recorded without locks, written once at the end.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/transport.hpp"

namespace stagformer::internal {

/// A span of time on one rank.
struct TraceSpan {
  enum class Kind : std::uint8_t { section, wait_input, wait_memory, absorb, read_out, send };
  Kind kind = Kind::section;
  std::int32_t section = -1;      ///< where it belongs to one
  std::int64_t pass = 0;          ///< pass number, from 0
  std::int32_t rows = 0;          ///< rows of the pass
  double begin_s = 0, end_s = 0;  ///< on this rank's clock (now_seconds)
};

class Trace {
 public:
  Trace() = default;
  /// Keeps up to `capacity` spans; later ones are counted and dropped.
  explicit Trace(std::size_t capacity) : capacity_(capacity) { spans_.reserve(capacity); }

  bool on() const { return capacity_ > 0; }
  void record(const TraceSpan& span) {
    if (spans_.size() < capacity_)
      spans_.push_back(span);
    else if (on())
      ++dropped_;
  }
  const std::vector<TraceSpan>& spans() const { return spans_; }
  std::uint64_t dropped() const { return dropped_; }

 private:
  std::size_t capacity_ = 0;
  std::uint64_t dropped_ = 0;
  std::vector<TraceSpan> spans_;
};

const char* name_of(TraceSpan::Kind kind);

/// Collective: seconds to add to this rank's clock to get rank 0's, from the fastest of several round trips.
double clock_offset(Transport& world);

/// Collective: gathers all ranks' spans and returns a Chrome/Perfetto trace (JSON) on rank 0, an empty string
/// elsewhere. pid = rank, tid = thread 0, times in microseconds from the earliest span.
std::string gather_trace(Transport& world, const Trace& trace, double offset_s);

}  // namespace stagformer::internal
