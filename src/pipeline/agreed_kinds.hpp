// Agreed errors as programs catch them.
#pragma once

#include "pipeline/agreement.hpp"

namespace stagformer::internal {

/// Throws the class of error.hpp that has the agreed error's code, with its message.
[[noreturn]] void throw_as_its_kind(const AgreedError& error);

}  // namespace stagformer::internal
