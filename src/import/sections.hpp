// Where an ordinary decoder is cut.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace stagformer::internal {

/// Layers of each section. `list` ("10,20", may be missing) wins over `sections`; without it layers are
/// shared out evenly, the first sections taking one more where it does not come out even. UsageError where
/// the two and `layers` do not agree.
std::vector<int> cut_layers(std::int64_t layers, const std::optional<std::int64_t>& sections,
                            const std::optional<std::string>& list);

}  // namespace stagformer::internal
