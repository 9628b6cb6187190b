// ModelConfig from and to JSON. The keys and their defaults are those of docs/checkpoint-format.md.
#include "stagformer/config.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "base/config_check.hpp"
#include "base/config_json.hpp"

namespace stagformer {
namespace {

using internal::ObjectReader;
using nlohmann::json;

constexpr std::int64_t kMostSections = 1 << 16;

/// Names of an enumeration's values in their order.
template <std::size_t N>
using Names = std::array<const char*, N>;
constexpr Names<2> kActivations = {"silu", "gelu_tanh"};
constexpr Names<2> kWeights = {"separate", "shared"};
constexpr Names<2> kLinks = {"staggered", "chained"};
constexpr Names<2> kReadouts = {"last", "linear_combination"};
constexpr Names<2> kPromptMemories = {"own", "previous_pass"};
constexpr Names<2> kRopeTypes = {"linear", "llama3"};

template <typename Enum, std::size_t N>
const char* name_in(const Names<N>& names, Enum value) {
  return names[static_cast<std::size_t>(value)];
}

template <typename Enum, std::size_t N>
Enum value_of(const Names<N>& names, const std::string& name, const std::string& path) {
  for (std::size_t i = 0; i < N; ++i)
    if (name == names[i]) return static_cast<Enum>(i);
  std::string known;
  for (const char* each : names) known += std::string(known.empty() ? "'" : ", '") + each + "'";
  internal::bad_value(path, "has the unknown value '" + name + "' (known: " + known + ")");
}

template <typename Enum, std::size_t N>
Enum choice(const ObjectReader& object, const char* key, const Names<N>& names, Enum missing) {
  return value_of<Enum>(names, object.text(key, name_in(names, missing)), object.path_of(key));
}

/// Hugging Face writes `rope_type`, older files `type`; both may stand together if they agree.
std::string rope_type_of(const ObjectReader& object) {
  const std::string type = object.text("type", "");
  std::string rope_type = object.text("rope_type", type.c_str());
  if (rope_type.empty()) internal::bad_value("rope_scaling.rope_type", "is missing");
  if (!type.empty() && type != rope_type)
    internal::bad_value("rope_scaling.type",
                        "is '" + type + "', but rope_scaling.rope_type is '" + rope_type + "'");
  return rope_type;
}

std::optional<RopeScaling> parse_rope_scaling(const json* value) {
  if (!value) return std::nullopt;
  const ObjectReader object(*value, "rope_scaling",
                            {"rope_type", "type", "factor", "low_freq_factor", "high_freq_factor",
                             "original_max_position_embeddings"});
  const std::string type = rope_type_of(object);
  if (type == "default") return std::nullopt;
  RopeScaling scaling;
  scaling.type = value_of<RopeScaling::Type>(kRopeTypes, type, "rope_scaling.rope_type");
  scaling.factor = object.number("factor");
  if (scaling.type == RopeScaling::Type::linear) return scaling;
  scaling.low_freq_factor = object.number("low_freq_factor");
  scaling.high_freq_factor = object.number("high_freq_factor");
  scaling.original_max_position_embeddings = object.integer("original_max_position_embeddings");
  return scaling;
}

/// One integer for all sections, or one for each. Numbers beyond an int are clamped, and refused by the check
/// later on.
std::vector<int> parse_layer_counts(const ObjectReader& object, int sections) {
  const char* key = "layers_per_section";
  const json& value = object.require(key);
  const std::string path = object.path_of(key);
  const auto count_of = [&](const json& each) {
    return static_cast<int>(std::clamp<std::int64_t>(internal::as_integer(each, path), -1, 1 << 30));
  };
  if (!value.is_array()) {
    if (!value.is_number_integer()) internal::wrong_type(path, "an integer or a list of integers", value);
    return std::vector<int>(sections, count_of(value));
  }
  if (value.size() != static_cast<std::size_t>(sections))
    internal::bad_value(path, "must list one number for each of " + std::to_string(sections) +
                                  " sections, found " + std::to_string(value.size()));
  std::vector<int> counts;
  for (const json& each : value) counts.push_back(count_of(each));
  return counts;
}

std::vector<Link> parse_links(const ObjectReader& object, int sections) {
  const std::string path = object.path_of("links");
  const json* value = object.find("links");
  const std::size_t count = static_cast<std::size_t>(sections) - 1;
  if (!value) return std::vector<Link>(count, Link::staggered);
  if (value->is_string())
    return std::vector<Link>(count, value_of<Link>(kLinks, value->get<std::string>(), path));
  if (!value->is_array()) internal::wrong_type(path, "a string or a list of strings", *value);
  if (value->size() != count)
    internal::bad_value(path, "must list one link between each two of " + std::to_string(sections) +
                                  " sections (" + std::to_string(count) + "), found " +
                                  std::to_string(value->size()));
  std::vector<Link> links;
  for (const json& each : *value)
    links.push_back(value_of<Link>(kLinks, internal::as_text(each, path), path));
  return links;
}

void parse_cross_layers(const ObjectReader& object, CrossAttentionConfig& cross) {
  const json* value = object.find("layers");
  if (!value || *value == "all") return;
  const std::string path = object.path_of("layers");
  if (!value->is_array()) internal::wrong_type(path, "'all' or a list of layer numbers", *value);
  cross.all_layers = false;
  for (const json& each : *value)
    cross.layers.push_back(
        static_cast<int>(std::clamp<std::int64_t>(internal::as_integer(each, path), -1, 1 << 30)));
}

CrossAttentionConfig parse_cross_attention(const json* value) {
  CrossAttentionConfig cross;
  if (!value) return cross;
  const ObjectReader object(*value, "sections.cross_attention",
                            {"enabled", "layers", "window", "lag", "rope", "memory_norm"});
  cross.enabled = object.boolean("enabled", cross.enabled);
  parse_cross_layers(object, cross);
  if (object.find_or_null("window")) cross.window = object.integer("window");
  cross.lag = static_cast<int>(std::clamp<std::int64_t>(object.integer("lag", cross.lag), -1, 2));
  cross.rope = object.boolean("rope", cross.rope);
  cross.memory_norm = object.boolean("memory_norm", cross.memory_norm);
  return cross;
}

SectionsConfig parse_sections(const json& value) {
  const ObjectReader object(
      value, "sections",
      {"count", "layers_per_section", "weights", "links", "readout", "cross_attention", "recurrent"});
  SectionsConfig sections;
  const std::int64_t count = object.integer("count", 1);
  if (count < 1 || count > kMostSections)
    internal::bad_value("sections.count", "must be from 1 to 65536, found " + std::to_string(count));
  sections.count = static_cast<int>(count);
  sections.layers_per_section = parse_layer_counts(object, sections.count);
  sections.weights = choice(object, "weights", kWeights, sections.weights);
  sections.links = parse_links(object, sections.count);
  sections.readout = choice(object, "readout", kReadouts, sections.readout);
  sections.cross_attention = parse_cross_attention(object.find("cross_attention"));
  if (const json* recurrent = object.find("recurrent")) {
    const ObjectReader inner(*recurrent, "sections.recurrent", {"prompt_memory"});
    sections.prompt_memory = choice(inner, "prompt_memory", kPromptMemories, sections.prompt_memory);
  }
  return sections;
}

void parse_tokens(const ObjectReader& object, ModelConfig& c) {
  if (object.find_or_null("bos_token_id")) c.bos_token_id = object.integer("bos_token_id");
  if (const json* eos = object.find_or_null("eos_token_id")) {
    const std::string path = object.path_of("eos_token_id");
    if (!eos->is_array() && !eos->is_number_integer())
      internal::wrong_type(path, "an integer or a list of integers", *eos);
    for (const json& id : eos->is_array() ? *eos : json::array({*eos}))
      c.eos_token_ids.push_back(internal::as_integer(id, path));
  }
  c.add_bos = object.boolean("add_bos", c.bos_token_id.has_value());
}

/// The widths that everything else is checked against; head_dim last, because its default depends on the
/// others.
void parse_widths(const ObjectReader& object, ModelConfig& c) {
  c.vocab_size = object.integer("vocab_size");
  c.hidden_size = object.integer("hidden_size");
  c.intermediate_size = object.integer("intermediate_size");
  c.num_attention_heads = object.integer("num_attention_heads");
  c.num_key_value_heads = object.integer("num_key_value_heads", c.num_attention_heads);
  c.max_position_embeddings = object.integer("max_position_embeddings");
  if (object.find("head_dim")) {
    c.head_dim = object.integer("head_dim");
    return;
  }
  if (c.num_attention_heads < 1 || c.hidden_size % c.num_attention_heads != 0)
    internal::bad_value(
        "head_dim", "is missing, and hidden_size = " + std::to_string(c.hidden_size) +
                        " is no multiple of num_attention_heads = " + std::to_string(c.num_attention_heads));
  c.head_dim = c.hidden_size / c.num_attention_heads;
}

json rope_scaling_json(const std::optional<RopeScaling>& scaling) {
  if (!scaling) return nullptr;
  json object = {{"rope_type", name_in(kRopeTypes, scaling->type)}, {"factor", scaling->factor}};
  if (scaling->type == RopeScaling::Type::linear) return object;
  object["low_freq_factor"] = scaling->low_freq_factor;
  object["high_freq_factor"] = scaling->high_freq_factor;
  object["original_max_position_embeddings"] = scaling->original_max_position_embeddings;
  return object;
}

json sections_json(const SectionsConfig& s) {
  json links = json::array();
  for (Link link : s.links) links.push_back(name_in(kLinks, link));
  const CrossAttentionConfig& x = s.cross_attention;
  json cross = {{"enabled", x.enabled}, {"lag", x.lag}, {"rope", x.rope}, {"memory_norm", x.memory_norm}};
  cross["layers"] = x.all_layers ? json("all") : json(x.layers);
  cross["window"] = x.window ? json(*x.window) : json(nullptr);
  return {{"count", s.count},
          {"layers_per_section", s.layers_per_section},
          {"weights", name_in(kWeights, s.weights)},
          {"links", links},
          {"readout", name_in(kReadouts, s.readout)},
          {"cross_attention", cross},
          {"recurrent", {{"prompt_memory", name_in(kPromptMemories, s.prompt_memory)}}}};
}

}  // namespace

ModelConfig ModelConfig::from_json(std::string_view text) {
  const json root = internal::parse_object(text);
  const ObjectReader object(
      root, "",
      {"vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads",
       "head_dim", "max_position_embeddings", "rms_norm_eps", "rope_theta", "rope_scaling", "hidden_act",
       "tie_word_embeddings", "attention_bias", "qk_norm", "embedding_scale", "bos_token_id", "eos_token_id",
       "add_bos", "sections"});
  ModelConfig c;
  parse_widths(object, c);
  c.rms_norm_eps = object.number("rms_norm_eps", c.rms_norm_eps);
  c.rope_theta = object.number("rope_theta", c.rope_theta);
  c.rope_scaling = parse_rope_scaling(object.find_or_null("rope_scaling"));
  c.hidden_act = choice(object, "hidden_act", kActivations, c.hidden_act);
  c.tie_word_embeddings = object.boolean("tie_word_embeddings", c.tie_word_embeddings);
  c.attention_bias = object.boolean("attention_bias", c.attention_bias);
  c.qk_norm = object.boolean("qk_norm", c.qk_norm);
  c.embedding_scale = object.number("embedding_scale", c.embedding_scale);
  parse_tokens(object, c);
  if (!object.find("sections")) throw ConfigError("configuration: missing key 'sections.layers_per_section'");
  c.sections = parse_sections(object.require("sections"));
  internal::check_config(c);
  return c;
}

std::string ModelConfig::to_json() const {
  const json root = {{"vocab_size", vocab_size},
                     {"hidden_size", hidden_size},
                     {"intermediate_size", intermediate_size},
                     {"num_attention_heads", num_attention_heads},
                     {"num_key_value_heads", num_key_value_heads},
                     {"head_dim", head_dim},
                     {"max_position_embeddings", max_position_embeddings},
                     {"rms_norm_eps", rms_norm_eps},
                     {"rope_theta", rope_theta},
                     {"rope_scaling", rope_scaling_json(rope_scaling)},
                     {"hidden_act", name_in(kActivations, hidden_act)},
                     {"tie_word_embeddings", tie_word_embeddings},
                     {"attention_bias", attention_bias},
                     {"qk_norm", qk_norm},
                     {"embedding_scale", embedding_scale},
                     {"bos_token_id", bos_token_id ? json(*bos_token_id) : json(nullptr)},
                     {"eos_token_id", eos_token_ids.empty() ? json(nullptr) : json(eos_token_ids)},
                     {"add_bos", add_bos},
                     {"sections", sections_json(sections)}};
  return root.dump();
}

bool ModelConfig::starts_from_embedding(int section) const {
  return section == 0 || sections.links[section - 1] == Link::staggered;
}

bool ModelConfig::has_memory(int section) const {
  return section > 0 && starts_from_embedding(section) && sections.cross_attention.enabled;
}

bool ModelConfig::has_cross_attention(int section, int layer) const {
  const CrossAttentionConfig& x = sections.cross_attention;
  return has_memory(section) && layer < sections.layers_per_section[section] &&
         (x.all_layers || std::find(x.layers.begin(), x.layers.end(), layer) != x.layers.end());
}

/// In the order in which a user would put things right.
std::string ModelConfig::recurrent_refusal() const {
  const SectionsConfig& s = sections;
  if (s.weights != SectionWeights::shared)
    return "recurrent decoding needs shared weights, but sections.weights is 'separate'";
  return alone_refusal("recurrent decoding");
}

std::string ModelConfig::draft_refusal() const {
  return alone_refusal("drafting");
}

/// Why the last section cannot go on with its own outputs for memory.
std::string ModelConfig::alone_refusal(const std::string& what) const {
  const SectionsConfig& s = sections;
  const bool chained = std::find(s.links.begin(), s.links.end(), Link::chained) != s.links.end();
  const std::string needs = what + " needs ";
  if (s.count < 2) return needs + "at least 2 sections, but sections.count is 1";
  if (chained) return needs + "staggered links, but sections.links has a chained one";
  if (!s.cross_attention.enabled)
    return needs + "cross-attention, but sections.cross_attention.enabled is false";
  if (s.cross_attention.lag != 1) return needs + "a lag of 1, but sections.cross_attention.lag is 0";
  if (s.readout != Readout::last)
    return needs + "the read-out 'last', but sections.readout is 'linear_combination'";
  return "";
}

}  // namespace stagformer
