// JSON that others wrote.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace stagformer::internal {

/// Discarded (is_discarded(), and none of the other types) where the text is no JSON or lists and objects
/// stand deeper inside of each other than anything here needs: copies and dumps call themselves level by
/// level, so that a line of a million brackets would overflow the stack.
nlohmann::json parse_json(const std::string& text);
/// The same, keys in the order of the text.
nlohmann::ordered_json parse_ordered_json(const std::string& text);

}  // namespace stagformer::internal
