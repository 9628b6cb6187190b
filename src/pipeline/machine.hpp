// What a machine needs for the parts of a step: measured by `bench --calibrate`, read by `plan` and by
// emulation. Everything is of one rank with its threads, while as many ranks of its host are at work as when
// it was measured; products also while the others wait, as they do where sections run one after another.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pipeline/link_model.hpp"
#include "stagformer/number_format.hpp"

namespace stagformer::internal {

/// A value that depends on another, interpolated over the logarithm of x; constant beyond both ends.
class Curve {
 public:
  struct Point {
    double x = 1, y = 0;
  };
  Curve() = default;
  /// Points with x > 0 ascending. Throws ConfigError otherwise.
  explicit Curve(std::vector<Point> points);
  double at(double x) const;
  const std::vector<Point>& points() const { return points_; }

 private:
  std::vector<Point> points_;
};

/// Who computes while a rank does: all ranks, or it alone.
enum class AtWork { all, one };

/// How fast products of a decode step go.
struct ReadSpeed {
  static constexpr double kNearBytes = 16 << 20, kFarBytes = 128 << 20;

  Curve read_s_per_byte;  ///< of a decode step with one row, by the bytes that the rank reads in a step
  /// Time of a step's products by its rows, as a multiple of one row's: in steps of kNearBytes, which stay in
  /// a cache, and of kFarBytes, where more rows cost little as long as memory is what a step waits for.
  Curve row_factor, row_factor_far;

  /// Seconds a byte of weights in a step that reads `bytes` in all for so many rows.
  double seconds_per_byte(double bytes, double rows) const;
};

/// Products with weights of one number format.
struct FormatSpeed {
  NumberFormat format = NumberFormat::f32;
  ReadSpeed together, alone;
  double operations_per_s = 0;  ///< prompts, two operations a multiply-add, attention and norms included

  const ReadSpeed& reading(AtWork at_work) const { return at_work == AtWork::one ? alone : together; }
};

struct Machine {
  std::string name;
  std::string processor, instruction_set,
      measured;           ///< measured: when and by which version; empty if built in
  int threads = 1;        ///< a rank
  int ranks_on_host = 1;  ///< at work at the same time
  double layer_s = 0;     ///< a layer with one row beside its products: norms, attention, meetings of threads
  double cross_s = 0;     ///< cross-attention of a layer with one row beside its products
  double layer_row_s = 0;  ///< each further row in either, with a hidden size of kRowWidth; grows with it
  static constexpr double kRowWidth = 512;
  double cache_s_per_byte = 0;    ///< keys and values read
  double choice_s = 0;            ///< a step: candidates, choice, bookkeeping
  double choice_s_per_token = 0;  ///< the same, per row and token id that the rank looks at
  std::vector<FormatSpeed> formats;
  LinkModel link;

  bool built_in() const { return measured.empty(); }
  /// Throws ConfigError where the machine was not measured with this format.
  const FormatSpeed& speed_of(NumberFormat format) const;

  /// Throws ConfigError naming the key that is unknown, missing or impossible.
  static Machine from_json(const std::string& json);
  std::string to_json() const;

  /// One thread of a server core at 12 GB/s and 60 GFLOP/s, links of 2 us and 12 GB/s: a place to start from.
  static Machine built_in_machine();
};

}  // namespace stagformer::internal
