#pragma once

#include <string>

namespace stagformer::internal {

/// "1.10.8": the HDF5 library in use.
std::string hdf5_library_version();

}  // namespace stagformer::internal
