#include "pipeline/step_cost.hpp"

#include <algorithm>
#include <cstddef>
#include <string>

#include "kernels/cache_layout.hpp"
#include "pipeline/benchmark_cost.hpp"
#include "pipeline/pass.hpp"
#include "pipeline/rank_part.hpp"
#include "pipeline/section_groups.hpp"

namespace stagformer::internal {
namespace {

bool is_cross(const std::string& matrix) {
  return matrix.starts_with("cross_attention/");
}
bool makes_memory(const std::string& matrix) {
  return matrix == "cross_attention/k" || matrix == "cross_attention/v";
}

double as_double(std::int64_t value) {
  return static_cast<double>(value);
}

/// Sections [first, end) of a rank that do a step as one batch.
struct Group {
  int first = 0, end = 0;
  int size() const { return end - first; }
};

/// Ranks take turns where each of them needs what the one before it made in the same step, unless other
/// replicas or other groups of sequences keep them busy.
AtWork at_work(const ModelConfig& config, const Grid& grid, const EngineOptions& options,
               const BenchPoint& point) {
  if (grid.replicas > 1 || point.groups > 1) return AtWork::all;
  for (int rank = 1; rank < grid.ranks_per_replica(); ++rank)
    if (step_runs_beside(config, options, grid.first_section(rank))) return AtWork::all;
  return AtWork::one;
}

class RankCost {
 public:
  RankCost(const CheckpointIndex& index, const Grid& grid, const RankPart& part, const EngineOptions& options,
           const BenchPoint& point, const Machine& machine)
      : index_(index),
        config_(index.config),
        part_(part),
        options_(options),
        point_(point),
        machine_(machine),
        bytes_(step_bytes(index, part, options, point)),
        in_layers_(at_work(config_, grid, options, point)),
        in_head_(grid.world > 1 && options.head != HeadMode::last ? AtWork::all : in_layers_) {}

  RankWork step() const {
    RankWork work;
    for (const Group& group : groups()) {
      work.layers_s += layers_beside_products(group.first, group.end, point_.batch);
      for (int s = group.first; s < group.end; ++s)
        work.layers_s += section_products(s, group, work.absorb_s);
    }
    work.layers_s += machine_.cache_s_per_byte * as_double(bytes_.caches);
    work.head_s = head(as_double(point_.batch));
    work.choice_s =
        machine_.choice_s + machine_.choice_s_per_token * as_double(head_rows_held() * point_.batch);
    work.waits = waits();
    return work;
  }

  RankWork chunk(std::int64_t rows) const {
    RankWork work;
    for (int s = part_.first_section; s < part_.first_section + part_.sections; ++s)
      for_matrices(s, [&](const std::string&, const DatasetInfo& info) {
        work.layers_s += 2 * as_double(info.rows() * info.columns() * rows) /
                         machine_.speed_of(info.format).operations_per_s;
      });
    work.head_s = head(as_double(point_.batch));
    work.choice_s = machine_.choice_s + machine_.choice_s_per_token * as_double(head_rows_held());
    work.waits = true;
    return work;
  }

 private:
  bool beside(int section) const { return step_runs_beside(config_, options_, section); }
  bool waits() const {
    const int s = part_.first_section;
    return s > 0 && !beside(s);
  }
  bool shared() const { return config_.sections.weights == stagformer::SectionWeights::shared; }

  std::vector<Group> groups() const {
    std::vector<Group> groups;
    for (int s = part_.first_section; s < part_.first_section + part_.sections; ++s) {
      if (!groups.empty() && shared() && beside(s))
        groups.back().end = s + 1;
      else
        groups.push_back({s, s + 1});
    }
    return groups;
  }

  template <typename Visit>
  void for_matrices(int section, const Visit& visit) const {
    for (int l = 0; l < config_.sections.layers_per_section[static_cast<std::size_t>(section)]; ++l)
      for (const std::string& matrix : layer_matrices(config_, section, l))
        visit(matrix, index_.datasets.at(layer_prefix(section, l) + matrix + "/weight"));
  }

  double read(const DatasetInfo& info, double rows, AtWork at_work) const {
    return as_double(info.bytes) *
           machine_.speed_of(info.format).reading(at_work).seconds_per_byte(as_double(bytes_.total()), rows);
  }

  /// What a batch reads once counts with its first section. `absorb`: what waits for another rank's message.
  double section_products(int section, const Group& group, double& absorb) const {
    double seconds = 0;
    const bool remote = section == part_.first_section && section > 0;
    for_matrices(section, [&](const std::string& matrix, const DatasetInfo& info) {
      const bool own = is_cross(matrix);
      if (!own && section != group.first) return;
      const double time = read(info, as_double(point_.batch) * (own ? 1 : group.size()), in_layers_);
      (makes_memory(matrix) && remote ? absorb : seconds) += time;
    });
    return seconds;
  }

  double layers_beside_products(int first, int end, std::int64_t rows) const {
    double seconds = 0;
    const double a_row = machine_.layer_row_s * as_double(config_.hidden_size) / Machine::kRowWidth;
    for (int s = first; s < end; ++s)
      for (int l = 0; l < config_.sections.layers_per_section[static_cast<std::size_t>(s)]; ++l) {
        seconds += machine_.layer_s + a_row * as_double(rows - 1);
        if (config_.has_cross_attention(s, l)) seconds += machine_.cross_s + a_row * as_double(rows - 1);
      }
    return seconds;
  }

  std::int64_t head_rows_held() const { return head_rows(config_, part_).count(); }

  double head(double rows) const {
    const DatasetInfo& head = index_.datasets.at(head_name(config_));
    return read(head, rows, in_head_) * as_double(head_rows_held()) / as_double(config_.vocab_size);
  }

  const CheckpointIndex& index_;
  const ModelConfig& config_;
  const RankPart& part_;
  const EngineOptions& options_;
  const BenchPoint& point_;
  const Machine& machine_;
  const StepBytes bytes_;
  const AtWork in_layers_, in_head_;
};

template <typename Work>
std::vector<RankWork> of_all_ranks(const CheckpointIndex& index, const Grid& grid,
                                   const EngineOptions& options, const BenchPoint& point,
                                   const Machine& machine, const Work& work) {
  std::vector<RankWork> all;
  for (int rank = 0; rank < grid.ranks_per_replica(); ++rank) {
    const RankPart part = rank_part(index.config, grid, rank, options.head);
    all.push_back(work(RankCost(index, grid, part, options, point, machine)));
  }
  return all;
}

}  // namespace

std::vector<RankWork> decode_work(const CheckpointIndex& index, const Grid& grid,
                                  const EngineOptions& options, const BenchPoint& point,
                                  const Machine& machine) {
  return of_all_ranks(index, grid, options, point, machine, [](const RankCost& cost) { return cost.step(); });
}

std::vector<RankWork> chunk_work(const CheckpointIndex& index, const Grid& grid, const EngineOptions& options,
                                 const BenchPoint& point, const Machine& machine) {
  const std::int64_t rows = std::min(options.chunk, point.prompt);
  return of_all_ranks(index, grid, options, point, machine,
                      [rows](const RankCost& cost) { return cost.chunk(rows); });
}

StepMessages messages_of(const ModelConfig& config, const EngineOptions& options, std::int64_t rows,
                         std::int64_t read) {
  constexpr double kHeader = 8, kTarget = 8;  // read_out.cpp
  const double record = kTarget + as_double(static_cast<std::int64_t>(RecordLayout{}.bytes()));
  const double token = sizeof(ReadoutResult), d = as_double(config.hidden_size) * sizeof(float);
  return {as_double(rows) * d, as_double(read) * d,
          kHeader + as_double(read) * (options.head == HeadMode::last ? token : record),
          config.sections.readout == Readout::linear_combination};
}

double decode_seconds(const CheckpointIndex& index, const Grid& grid, const EngineOptions& options,
                      const BenchPoint& point, const Machine& machine) {
  return decode_timeline(decode_work(index, grid, options, point, machine),
                         messages_of(index.config, options, point.batch, point.batch), options.head,
                         machine.link)
      .step_s;
}

HeadMode chosen_head(const CheckpointIndex& index, const Grid& grid, EngineOptions options,
                     const BenchPoint& point, const Machine& machine) {
  if (options.head != HeadMode::automatic) return options.head;
  const auto seconds = [&](HeadMode head) {
    options.head = head;
    return decode_seconds(index, grid, options, point, machine);
  };
  return seconds(HeadMode::last) < seconds(HeadMode::sliced) ? HeadMode::last : HeadMode::sliced;
}

}  // namespace stagformer::internal
