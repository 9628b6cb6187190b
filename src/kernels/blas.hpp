// What the program needs to know about the OpenBLAS that it is linked to.
#pragma once

#include <string>

namespace stagformer::internal {

/// "0.3.21": the version of the library.
std::string blas_library_version();
/// The core type whose kernels OpenBLAS runs, in its own words ("SkylakeX", "Prescott").
std::string blas_core_name();
/// The value of OPENBLAS_CORETYPE that fits this processor, where OpenBLAS took a lesser one; empty if it
/// chose well. The library reads the variable once, when it is loaded.
std::string better_blas_core();

}  // namespace stagformer::internal
