// Assertions about the program itself; user input is checked by exceptions of error.hpp instead.
#pragma once

#include <sstream>
#include <string>

namespace stagformer::internal {

[[noreturn]] void check_failed(const char* condition, const char* file, int line, const std::string& values);

template <typename... Values>
std::string join_values(const Values&... values) {
  std::ostringstream out;
  ((out << ' ' << values), ...);
  return out.str();
}

}  // namespace stagformer::internal

/// Always on, for conditions outside inner loops. Further arguments are printed when it fails.
#define STAG_CHECK(condition, ...)                                                            \
  do {                                                                                        \
    if (!(condition)) [[unlikely]]                                                            \
      ::stagformer::internal::check_failed(#condition, __FILE__, __LINE__,                    \
                                           ::stagformer::internal::join_values(__VA_ARGS__)); \
  } while (false)

/// For inner loops: on in Debug builds only.
#ifdef NDEBUG
#define STAG_DCHECK(condition, ...) ((void)0)
#else
#define STAG_DCHECK(condition, ...) STAG_CHECK(condition, __VA_ARGS__)
#endif
