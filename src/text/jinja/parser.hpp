// From a template's source to its tree.
#pragma once

#include <string_view>

#include "text/jinja/syntax.hpp"

namespace stagformer::internal::jinja {

/// Throws Problem naming line and construct for what is no template, and for what is not supported.
Block parse(std::string_view source);

}  // namespace stagformer::internal::jinja
