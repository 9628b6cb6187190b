#include "cli/json_text.hpp"

namespace stagformer::internal {

using nlohmann::json;

json parse_json(const std::string& text) {
  constexpr int kDeepest = 64;
  bool too_deep = false;
  const auto watch = [&](int depth, json::parse_event_t, json&) {
    too_deep = too_deep || depth > kDeepest;
    return !too_deep;
  };
  json value = json::parse(text, watch, false);
  return too_deep ? json(json::value_t::discarded) : value;
}

}  // namespace stagformer::internal
