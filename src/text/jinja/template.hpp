// The part of Jinja that models' chat templates are written in. What is not supported is an error that names
// it, when the template is read where that can be known, else when it is reached.
//
// Blocks: if, for (with a condition, else, break, continue, loop.*), set, macro, generation. Not: include,
// import, block, call, filter, raw, with, recursive loops. Filters, tests and methods: filters.cpp,
// tests.cpp, methods.cpp.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/syntax.hpp"

namespace stagformer::internal::jinja {

using Variables = std::vector<std::pair<std::string, Value>>;

class Template {
 public:
  /// Throws InputError "chat template: line N: PROBLEM"; so does render().
  explicit Template(std::string_view source);
  Text render(const Variables& globals) const;

 private:
  Block block_;
};

}  // namespace stagformer::internal::jinja
