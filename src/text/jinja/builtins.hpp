// What templates find ready-made: filters, tests, methods, functions, operators.
#pragma once

#include <string>

#include "text/jinja/value.hpp"

namespace stagformer::internal::jinja {

/// input | name(arguments). Fails for a filter that is not supported.
Value apply_filter(const std::string& name, const Value& input, const Arguments& arguments);
/// input is name(arguments)
bool apply_test(const std::string& name, const Value& input, const Arguments& arguments);

/// value.name: a method first, then an entry; undefined where there is neither. Fails for methods of Python
/// that are not supported.
Value attribute_of(const Value& value, const std::string& name);
/// value[index]: an entry first, then a method.
Value item_of(const Value& value, const Value& index);
/// value[begin:end:step]; undefined bounds are left out.
Value slice_of(const Value& value, const Value& begin, const Value& end, const Value& step);

/// a SIGN b for + - * / // % ~ and the comparisons.
Value binary(const std::string& sign, const Value& a, const Value& b);
bool compare(const std::string& sign, const Value& a, const Value& b);
Value negated(const Value& value);

/// range, namespace, dict; undefined for anything else.
Value global_function(const std::string& name);

}  // namespace stagformer::internal::jinja
