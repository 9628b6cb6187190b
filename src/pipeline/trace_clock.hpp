// Rank 0's clock on every rank, for traces: by round trips at the beginning and at the end of a run.
#pragma once

#include <optional>

#include "comm/transport.hpp"

namespace stagformer::internal {

/// What one set of round trips shows.
struct ClockSample {
  double at_s = 0;      ///< own clock
  double offset_s = 0;  ///< to be added to get rank 0's
  double error_s = 0;   ///< half of the fastest round trip: the offset is not further off
};

class TraceClock {
 public:
  /// Collective. The first call begins the line, the last one ends it.
  void measure(Transport& world);
  void add(const ClockSample& sample);

  /// A time of this rank on rank 0's clock. Two samples make a line where they differ by more than their
  /// errors leave open; else the better one holds throughout.
  double on_rank_0(double own_s) const;
  double error_s() const;

 private:
  bool drifts() const;

  std::optional<ClockSample> first_, last_;
};

/// Collective. Ranks of rank 0's host share its clock: what is measured there must agree with that to be
/// zero.
ClockSample sample_clock(Transport& world);

}  // namespace stagformer::internal
