// What a template may take: it comes with a model, from anybody, and must not fill the memory or run for
// ever.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace stagformer::internal::jinja {

constexpr std::size_t kLongestText = std::size_t{1} << 26;  ///< bytes of a text that a template puts together
constexpr std::size_t kMostItems = std::size_t{1} << 20;    ///< of a list that a template makes
constexpr std::int64_t kHeaviestValue = std::int64_t{1} << 26;  ///< Extent::weight
constexpr int kDeepestValue = 100;                              ///< Extent::depth

/// Roughly what rendering costs: a unit for everything that is evaluated, and for every 16 bytes or item of
/// it.
constexpr std::int64_t kMostWork = std::int64_t{1} << 25;
constexpr std::int64_t kWorkAUnitOfInput = 4;  ///< more, for each unit of weight that the variables have

/// What a value holds, with all that is in it as often as it is in it, and how deep.
struct Extent {
  std::int64_t weight = 0;  ///< about its bytes as text
  int depth = 0;
};

/// What is wrong with a template, or with the values that it is given.
class Problem : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
[[noreturn]] void fail(const std::string& problem);

}  // namespace stagformer::internal::jinja
