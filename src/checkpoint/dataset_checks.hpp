// Whether a dataset is stored as the format's page says, before anybody reads its bytes past HDF5.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/hdf5_handle.hpp"
#include "checkpoint/index.hpp"
#include "checkpoint/schema.hpp"

namespace stagformer::internal {

/// Number format and shape of a dataset that was asked for; its place and checksum are left to the caller.
/// Throws CheckpointError where number format, type, shape or storage are not what a reader can use.
DatasetInfo describe_dataset(hid_t dataset, const DatasetRequest& request);

/// "[64, 96]"
std::string shape_text(const std::vector<std::int64_t>& shape);

}  // namespace stagformer::internal
