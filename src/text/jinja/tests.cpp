// value is TEST
#include <algorithm>
#include <map>

#include "text/jinja/builtins.hpp"

namespace stagformer::internal::jinja {
namespace {

using Test = bool (*)(const Value&);

bool is_row(const Value& v) {
  return v.text() || v.dict() || v.is_undefined() || is_indexed(v);
}

const std::map<std::string, Test>& plain_tests() {
  static const std::map<std::string, Test> kTests = {
      {"defined", [](const Value& v) { return !v.is_undefined(); }},
      {"undefined", [](const Value& v) { return v.is_undefined(); }},
      {"none", [](const Value& v) { return v.is_none(); }},
      {"string", [](const Value& v) { return v.text() != nullptr; }},
      {"mapping", [](const Value& v) { return v.dict() != nullptr; }},
      {"sequence", is_row},
      {"iterable", [](const Value& v) { return is_row(v) || v.list(); }},
      {"boolean", [](const Value& v) { return v.get<bool>() != nullptr; }},
      {"true", [](const Value& v) { return v.get<bool>() && *v.get<bool>(); }},
      {"false", [](const Value& v) { return v.get<bool>() && !*v.get<bool>(); }},
      {"integer", [](const Value& v) { return v.get<std::int64_t>() != nullptr; }},
      {"float", [](const Value& v) { return v.get<double>() != nullptr; }},
      {"number", [](const Value& v) { return v.get<bool>() || v.get<std::int64_t>() || v.get<double>(); }},
      {"callable", [](const Value& v) { return v.function() || v.is_undefined(); }},
      {"odd", [](const Value& v) { return integer_of(v, "what is odd") % 2 != 0; }},
      {"even", [](const Value& v) { return integer_of(v, "what is even") % 2 == 0; }},
  };
  return kTests;
}

/// The sign of a test with an argument; empty for other tests.
std::string comparison_of(const std::string& name) {
  static const std::map<std::string, std::string> kSigns = {
      {"equalto", "=="}, {"eq", "=="}, {"==", "=="}, {"ne", "!="}, {"!=", "!="}, {"lt", "<"},
      {"<", "<"},        {"gt", ">"},  {">", ">"},   {"le", "<="}, {"ge", ">="}, {"in", "in"}};
  const auto found = kSigns.find(name);
  return found == kSigns.end() ? "" : found->second;
}

}  // namespace

bool apply_test(const std::string& name, const Value& input, const Arguments& arguments) {
  if (const auto found = plain_tests().find(name); found != plain_tests().end()) {
    arguments.expect("the test '" + name + "'", {});
    return found->second(input);
  }
  const std::string sign = comparison_of(name);
  if (sign.empty() && name != "divisibleby") fail("the test '" + name + "' is not supported");
  arguments.expect("the test '" + name + "'", {"other"});
  const Value* other = arguments.find(0, "other");
  if (!other) fail("the test '" + name + "' needs an argument");
  if (!sign.empty()) return compare(sign, input, *other);
  return equal(binary("%", input, *other), Value(std::int64_t{0}));
}

}  // namespace stagformer::internal::jinja
