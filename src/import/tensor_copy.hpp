// One foreign tensor as slices of rows in the checkpoint's layout and number format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "base/thread_team.hpp"
#include "import/source.hpp"
#include "stagformer/number_format.hpp"

namespace stagformer::internal {

/// Hands the tensor's rows on in order, as they are to be stored in `to`, a few MiB at a time: rotary pairs
/// put into halves, values converted where the format differs. CheckpointError for values that are not
/// finite, or not in `to`.
void copy_tensor(const SourceFile& file, const SourceTensor& tensor, NumberFormat to, const ThreadTeam& team,
                 const std::function<void(std::span<const std::byte>)>& write);

/// Whether every value is zero. For vectors.
bool is_all_zero(const SourceFile& file, const SourceTensor& tensor);

}  // namespace stagformer::internal
