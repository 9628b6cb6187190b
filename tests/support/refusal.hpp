// What a reader says of input that it must refuse.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "stagformer/error.hpp"

namespace stagformer::internal::test {

/// The message of the error of a kind that an action must throw.
template <typename Kind, typename Action>
std::string message_of(Action&& action) {
  try {
    action();
  } catch (const Kind& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("another kind of error: ") + error.what();
  }
  return "no error";
}

template <typename Action>
std::string refusal_of(Action&& action) {
  return message_of<CheckpointError>(action);
}

inline testing::AssertionResult has(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "'" << part << "' is not in: " << text;
}

}  // namespace stagformer::internal::test
