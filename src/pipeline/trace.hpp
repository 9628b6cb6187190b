// What one rank did when, and which messages it sent and took: fixed numbers of records, made without locks
// or allocation, gathered once at the end (trace_file.hpp).
#pragma once

#include <cstdint>
#include <vector>

#include "base/phase_clock.hpp"
#include "comm/transport.hpp"

namespace stagformer::internal {

/// A span of time on one rank. Spans of a rank nest: none overlaps another's end.
struct TraceSpan {
  enum class Kind : std::uint8_t {
    section,          ///< a section's layers
    wait_input,       ///< for the upstream outputs of this pass, the copying included
    wait_memory,      ///< for upstream outputs of an earlier pass, or of this one where rows need it
    absorb,           ///< upstream outputs become keys and values
    send,             ///< own outputs into a free slot, and off
    read_out,         ///< holds all that follow
    sum_outputs,      ///< linear_combination: own part of the weighted sum
    make_z,           ///< last rank: final norm, and z off to the others
    wait_z,           ///< the others
    head,             ///< own slice of the vocabulary
    candidates,       ///< the slice's best, and off to the others
    wait_candidates,  ///< for everybody's
    choose,           ///< the token, from all candidates
    tell_token,       ///< --head last: last rank
    wait_token,       ///< --head last: the others
  };
  Kind kind = Kind::section;
  std::int32_t section = -1;      ///< where it belongs to one
  std::int64_t pass = 0;          ///< pass number, from 0
  std::int32_t rows = 0;          ///< rows of the pass
  double begin_s = 0, end_s = 0;  ///< on this rank's clock (Transport::now)
};

/// One end of a message: just before it is sent, or once it is seen to be there. Lies inside of a span.
struct TraceMessage {
  enum class Kind : std::uint8_t { states, z, candidates, token };
  Kind kind = Kind::states;
  bool sent = false;
  std::int32_t peer = -1;  ///< the rank in the replica at the other end; -1: all ranks
  std::int64_t pass = 0;
  double at_s = 0;
};

class Trace {
 public:
  Trace() = default;
  /// Keeps up to `capacity` spans and twice as many ends of messages; later ones are counted and dropped.
  /// Times are the transport's, which must outlive the trace; without one, now_seconds().
  explicit Trace(std::size_t capacity, const Transport* transport = nullptr)
      : transport_(transport), capacity_(capacity) {
    spans_.reserve(capacity);
    messages_.reserve(2 * capacity);
  }

  bool on() const { return capacity_ > 0; }
  double now() const { return transport_ ? transport_->now() : now_seconds(); }
  void record(const TraceSpan& span) { keep(spans_, capacity_, span); }
  void record(const TraceMessage& message) { keep(messages_, 2 * capacity_, message); }
  /// As it happens: the time is now.
  void sends(TraceMessage::Kind kind, int peer, std::int64_t pass) {
    if (on()) record({kind, true, peer, pass, now()});
  }
  void has(TraceMessage::Kind kind, int peer, std::int64_t pass) {
    if (on()) record({kind, false, peer, pass, now()});
  }
  const std::vector<TraceSpan>& spans() const { return spans_; }
  const std::vector<TraceMessage>& messages() const { return messages_; }
  std::uint64_t dropped() const { return dropped_; }

 private:
  template <typename Record>
  void keep(std::vector<Record>& records, std::size_t most, const Record& record) {
    if (records.size() < most)
      records.push_back(record);
    else if (on())
      ++dropped_;
  }

  const Transport* transport_ = nullptr;
  std::size_t capacity_ = 0;
  std::uint64_t dropped_ = 0;
  std::vector<TraceSpan> spans_;
  std::vector<TraceMessage> messages_;
};

/// Records a span from here to the end of the scope; does nothing where the trace is off.
class TraceScope {
 public:
  TraceScope(Trace& trace, TraceSpan::Kind kind, std::int64_t pass, std::size_t rows, int section = -1)
      : trace_(trace), span_{kind, section, pass, static_cast<std::int32_t>(rows)} {
    if (trace_.on()) span_.begin_s = trace_.now();
  }
  ~TraceScope() {
    if (!trace_.on()) return;
    span_.end_s = trace_.now();
    trace_.record(span_);
  }
  TraceScope(const TraceScope&) = delete;
  TraceScope& operator=(const TraceScope&) = delete;

 private:
  Trace& trace_;
  TraceSpan span_;
};

/// As shown; a section's number follows where the span has one.
const char* name_of(TraceSpan::Kind kind);
const char* name_of(TraceMessage::Kind kind);

}  // namespace stagformer::internal
