#include "cli/json_text.hpp"

namespace stagformer::internal {
namespace {

template <typename Json>
Json parse(const std::string& text) {
  constexpr int kDeepest = 64;
  bool too_deep = false;
  const auto watch = [&](int depth, typename Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kDeepest;
    return !too_deep;
  };
  Json value = Json::parse(text, watch, false);
  return too_deep ? Json(Json::value_t::discarded) : value;
}

}  // namespace

nlohmann::json parse_json(const std::string& text) {
  return parse<nlohmann::json>(text);
}

nlohmann::ordered_json parse_ordered_json(const std::string& text) {
  return parse<nlohmann::ordered_json>(text);
}

}  // namespace stagformer::internal
