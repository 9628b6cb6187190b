// The mapping of ranks to (replica, sections): plain data, the same on every rank, testable without MPI.
#pragma once

#include <optional>
#include <string>

namespace stagformer::internal {

/// Sections and ranks count from 0. Every rank of a replica hosts the same number of neighbouring sections.
struct Grid {
  int world = 1;
  int sections = 1;
  int replicas = 1;

  int ranks_per_replica() const { return world / replicas; }
  int sections_per_rank() const { return sections / ranks_per_replica(); }
  int replica_of(int world_rank) const { return world_rank / ranks_per_replica(); }
  int rank_in_replica(int world_rank) const { return world_rank % ranks_per_replica(); }
  /// Sections [first_section, first_section + sections_per_rank) of a rank inside its replica.
  int first_section(int rank) const { return rank * sections_per_rank(); }
  int rank_of_section(int section) const { return section / sections_per_rank(); }
};

/// Without `replicas`: a divisor of the sections is one replica, a multiple of them several. Throws
/// ConfigError that lists the sizes that fit.
Grid make_grid(int world, int sections, std::optional<int> replicas = std::nullopt);

/// "1, 2 or 4 (one replica), or a multiple of 4"
std::string legal_world_sizes(int sections);

}  // namespace stagformer::internal
