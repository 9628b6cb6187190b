#include "pipeline/machine.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/config_json.hpp"

namespace stagformer::internal {
namespace {

using nlohmann::json;

constexpr int kVersion = 1;
constexpr NumberFormat kFormats[] = {NumberFormat::f32, NumberFormat::bf16, NumberFormat::q8_0,
                                     NumberFormat::q4_0, NumberFormat::q4_1};

/// [[x, y], ...]
std::vector<std::vector<double>> rows_of(const json& value, const std::string& path, std::size_t width) {
  if (!value.is_array()) wrong_type(path, "a list", value);
  std::vector<std::vector<double>> rows;
  for (const json& entry : value) {
    if (!entry.is_array() || entry.size() != width)
      bad_value(path, "must hold lists of " + std::to_string(width) + " numbers");
    rows.emplace_back();
    for (const json& number : entry) rows.back().push_back(as_number(number, path));
  }
  return rows;
}

Curve curve_of(const ObjectReader& object, const char* key) {
  const std::string path = object.path_of(key);
  std::vector<Curve::Point> points;
  for (const auto& row : rows_of(object.require(key), path, 2)) points.push_back({row[0], row[1]});
  try {
    return Curve(std::move(points));
  } catch (const ConfigError& error) {
    bad_value(path, error.what());
  }
}

json curve_json(const Curve& curve) {
  json rows = json::array();
  for (const Curve::Point& point : curve.points()) rows.push_back({point.x, point.y});
  return rows;
}

double time_of(const ObjectReader& object, const char* key, std::optional<double> missing = {}) {
  const double seconds = missing ? object.number(key, *missing) : object.number(key);
  if (!(seconds >= 0)) bad_value(object.path_of(key), "must not be negative");
  return seconds;
}

ReadSpeed read_speed_of(const ObjectReader& object) {
  const char* far = object.find("row_factor_far") ? "row_factor_far" : "row_factor";
  return {curve_of(object, "read_s_per_byte"), curve_of(object, "row_factor"), curve_of(object, far)};
}

json read_speed_json(const ReadSpeed& speed) {
  return {{"read_s_per_byte", curve_json(speed.read_s_per_byte)},
          {"row_factor", curve_json(speed.row_factor)},
          {"row_factor_far", curve_json(speed.row_factor_far)}};
}

FormatSpeed speed_from(const json& value, NumberFormat format) {
  const ObjectReader object(value, std::string("formats.") + name_of(format),
                            {"read_s_per_byte", "row_factor", "row_factor_far", "operations_per_s", "alone"});
  FormatSpeed speed{format, read_speed_of(object), read_speed_of(object), object.number("operations_per_s")};
  if (const json* alone = object.find("alone"))
    speed.alone = read_speed_of(
        ObjectReader(*alone, object.path_of("alone"), {"read_s_per_byte", "row_factor", "row_factor_far"}));
  if (!(speed.operations_per_s > 0)) bad_value(object.path_of("operations_per_s"), "must be positive");
  return speed;
}

LinkModel link_of(const json& value) {
  std::vector<LinkPoint> points;
  for (const auto& row : rows_of(value, "link", 3)) points.push_back({row[0], row[1], row[2]});
  try {
    return LinkModel(std::move(points));
  } catch (const ConfigError& error) {
    bad_value("link", error.what());
  }
}

}  // namespace

Curve::Curve(std::vector<Point> points) : points_(std::move(points)) {
  if (points_.empty()) throw ConfigError("a curve without points");
  for (std::size_t i = 0; i < points_.size(); ++i) {
    if (!(points_[i].x > 0) || !(points_[i].y > 0))
      throw ConfigError("a curve with a value that is not positive");
    if (i > 0 && points_[i].x <= points_[i - 1].x) throw ConfigError("a curve whose points do not ascend");
  }
}

double Curve::at(double x) const {
  if (points_.empty()) return 0;
  if (x <= points_.front().x) return points_.front().y;
  if (x >= points_.back().x) return points_.back().y;
  std::size_t i = 1;
  while (x > points_[i].x) ++i;
  const Point &a = points_[i - 1], &b = points_[i];
  return a.y + (b.y - a.y) * std::log(x / a.x) / std::log(b.x / a.x);
}

double ReadSpeed::seconds_per_byte(double bytes, double rows) const {
  const double one = read_s_per_byte.at(bytes);
  if (rows <= 1) return one;
  if (bytes <= kNearBytes) return one * row_factor.at(rows);
  if (bytes >= kFarBytes) return one * row_factor_far.at(rows);
  // Many rows wait for arithmetic, which takes as long wherever the weights come from: times, not multiples
  // of the reading time, lie between the two.
  const double near = read_s_per_byte.at(kNearBytes) * row_factor.at(rows),
               far = read_s_per_byte.at(kFarBytes) * row_factor_far.at(rows);
  const double share = std::log(bytes / kNearBytes) / std::log(kFarBytes / kNearBytes);
  return std::max(one, near + (far - near) * share);
}

const FormatSpeed& Machine::speed_of(NumberFormat format) const {
  const auto found = std::ranges::find(formats, format, &FormatSpeed::format);
  if (found == formats.end())
    throw ConfigError("machine '" + name + "' was not measured with weights of " + name_of(format));
  return *found;
}

Machine Machine::from_json(const std::string& text) {
  const json object = parse_object(text);
  const ObjectReader root(object, "",
                          {"format", "version", "name", "processor", "instruction_set", "measured", "threads",
                           "ranks_on_host", "layer_s", "layer_row_s", "cross_s", "cache_s_per_byte",
                           "choice_s", "choice_s_per_token", "formats", "link"});
  if (root.text("format", "") != "stagformer machine") bad_value("format", "must be 'stagformer machine'");
  if (root.integer("version") != kVersion)
    bad_value("version", "is " + std::to_string(root.integer("version")) + ", this program reads 1");
  Machine machine;
  machine.name = root.text("name", "unnamed");
  machine.processor = root.text("processor", "");
  machine.instruction_set = root.text("instruction_set", "");
  machine.measured = root.text("measured", "");
  machine.threads = static_cast<int>(std::clamp<std::int64_t>(root.integer("threads"), 1, 1 << 20));
  machine.ranks_on_host =
      static_cast<int>(std::clamp<std::int64_t>(root.integer("ranks_on_host"), 1, 1 << 20));
  machine.layer_s = time_of(root, "layer_s");
  machine.layer_row_s = time_of(root, "layer_row_s", machine.layer_s);
  machine.cross_s = time_of(root, "cross_s");
  machine.cache_s_per_byte = time_of(root, "cache_s_per_byte");
  machine.choice_s = time_of(root, "choice_s");
  machine.choice_s_per_token = time_of(root, "choice_s_per_token");
  const json& formats = root.require("formats");
  if (!formats.is_object()) wrong_type("formats", "an object", formats);
  for (const auto& [key, value] : formats.items()) (void)number_format_from(key);  // throws for others
  for (const NumberFormat format : kFormats)
    if (formats.contains(name_of(format)))
      machine.formats.push_back(speed_from(formats[name_of(format)], format));
  machine.link = link_of(root.require("link"));
  return machine;
}

std::string Machine::to_json() const {
  nlohmann::ordered_json object = {{"format", "stagformer machine"},
                                   {"version", kVersion},
                                   {"name", name},
                                   {"processor", processor},
                                   {"instruction_set", instruction_set},
                                   {"measured", measured},
                                   {"threads", threads},
                                   {"ranks_on_host", ranks_on_host},
                                   {"layer_s", layer_s},
                                   {"layer_row_s", layer_row_s},
                                   {"cross_s", cross_s},
                                   {"cache_s_per_byte", cache_s_per_byte},
                                   {"choice_s", choice_s},
                                   {"choice_s_per_token", choice_s_per_token}};
  for (const FormatSpeed& speed : formats) {
    json entry = read_speed_json(speed.together);
    entry["alone"] = read_speed_json(speed.alone);
    entry["operations_per_s"] = speed.operations_per_s;
    object["formats"][name_of(speed.format)] = entry;
  }
  object["link"] = json::array();
  for (const LinkPoint& point : link.points())
    object["link"].push_back({point.bytes, point.latency_s, point.gap_s});
  return object.dump(2) + "\n";
}

Machine Machine::built_in_machine() {
  constexpr double kReadRate = 12e9, kOperations = 60e9, kLatency = 2e-6, kLinkRate = 12e9;
  Machine machine;
  machine.name = "built in";
  machine.layer_s = machine.layer_row_s = 2e-6;
  machine.cross_s = 1e-6;
  machine.cache_s_per_byte = 1 / kReadRate;
  machine.choice_s = 5e-6;
  machine.choice_s_per_token = 2e-11;
  const Curve rows({{1, 1}, {32, 4}});
  const ReadSpeed speed{Curve({{1, 1 / kReadRate}}), rows, rows};
  for (const NumberFormat format : kFormats) machine.formats.push_back({format, speed, speed, kOperations});
  machine.link = LinkModel::of(kLatency, kLinkRate);
  return machine;
}

}  // namespace stagformer::internal
