// The configuration: defaults, every refusal with the key it must name, and the way back to JSON.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "stagformer/config.hpp"
#include "stagformer/error.hpp"

namespace stagformer {
namespace {

using nlohmann::json;

json minimal() {
  return json::parse(
      R"({"vocab_size": 300, "hidden_size": 64, "intermediate_size": 160, "num_attention_heads": 4,
                         "max_position_embeddings": 128, "sections": {"layers_per_section": 2}})");
}

/// Two staggered sections with shared weights: what recurrent decoding needs.
json recurrent() {
  json root = minimal();
  root["sections"] = {{"count", 2}, {"layers_per_section", 2}, {"weights", "shared"}};
  return root;
}

ModelConfig parsed(const json& root) {
  return ModelConfig::from_json(root.dump());
}

/// minimal() (with three sections) where the value at a JSON pointer is replaced.
json changed(const std::string& pointer, const json& value) {
  json root = minimal();
  root["sections"]["count"] = 3;
  root[json::json_pointer(pointer)] = value;
  return root;
}

std::string failure_of(const std::string& text) {
  try {
    ModelConfig::from_json(text);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Config, TakesTheDocumentedDefaults) {
  const ModelConfig c = parsed(minimal());
  EXPECT_EQ(c.num_key_value_heads, 4);
  EXPECT_EQ(c.head_dim, 16);
  EXPECT_EQ(c.rms_norm_eps, 1e-5);
  EXPECT_EQ(c.rope_theta, 10000);
  EXPECT_FALSE(c.rope_scaling);
  EXPECT_EQ(c.hidden_act, Activation::silu);
  EXPECT_TRUE(c.tie_word_embeddings);
  EXPECT_FALSE(c.attention_bias);
  EXPECT_EQ(c.embedding_scale, 1);
  EXPECT_FALSE(c.bos_token_id);
  EXPECT_TRUE(c.eos_token_ids.empty());
  EXPECT_FALSE(c.add_bos);
  EXPECT_EQ(c.sections.count, 1);
  EXPECT_EQ(c.sections.layers_per_section, std::vector<int>{2});
  EXPECT_TRUE(c.sections.links.empty());
  EXPECT_EQ(c.sections.weights, SectionWeights::separate);
  EXPECT_EQ(c.sections.readout, Readout::last);
  EXPECT_EQ(c.sections.prompt_memory, PromptMemory::previous_pass);
  const CrossAttentionConfig& x = c.sections.cross_attention;
  EXPECT_TRUE(x.enabled && x.all_layers && x.rope && x.memory_norm);
  EXPECT_FALSE(x.window);
  EXPECT_EQ(x.lag, 1);
}

TEST(Config, ReadsEveryKey) {
  const ModelConfig c = ModelConfig::from_json(R"({
    "vocab_size": 500, "hidden_size": 48, "intermediate_size": 100, "num_attention_heads": 6,
    "num_key_value_heads": 2, "head_dim": 10, "max_position_embeddings": 77, "rms_norm_eps": 1e-6,
    "rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.5,
    "high_freq_factor": 4.5, "original_max_position_embeddings": 8192}, "hidden_act": "gelu_tanh",
    "tie_word_embeddings": false, "attention_bias": true, "embedding_scale": 6.5, "bos_token_id": 1,
    "eos_token_id": [2, 499], "add_bos": false,
    "sections": {"count": 3, "layers_per_section": [2, 3, 4], "weights": "separate",
      "links": ["chained", "staggered"], "readout": "linear_combination",
      "cross_attention": {"enabled": true, "layers": [0, 3], "window": 5, "lag": 0, "rope": false,
                          "memory_norm": false},
      "recurrent": {"prompt_memory": "own"}}})");
  EXPECT_EQ(c.num_key_value_heads, 2);
  EXPECT_EQ(c.head_dim, 10);
  EXPECT_EQ(c.max_position_embeddings, 77);
  EXPECT_EQ(c.rms_norm_eps, 1e-6);
  EXPECT_EQ(c.rope_theta, 5e5);
  ASSERT_TRUE(c.rope_scaling);
  EXPECT_EQ(c.rope_scaling->type, RopeScaling::Type::llama3);
  EXPECT_EQ(c.rope_scaling->factor, 8);
  EXPECT_EQ(c.rope_scaling->low_freq_factor, 1.5);
  EXPECT_EQ(c.rope_scaling->high_freq_factor, 4.5);
  EXPECT_EQ(c.rope_scaling->original_max_position_embeddings, 8192);
  EXPECT_EQ(c.hidden_act, Activation::gelu_tanh);
  EXPECT_FALSE(c.tie_word_embeddings);
  EXPECT_TRUE(c.attention_bias);
  EXPECT_EQ(c.embedding_scale, 6.5);
  EXPECT_EQ(c.bos_token_id, 1);
  EXPECT_EQ(c.eos_token_ids, (std::vector<std::int64_t>{2, 499}));
  EXPECT_FALSE(c.add_bos);
  EXPECT_EQ(c.sections.layers_per_section, (std::vector<int>{2, 3, 4}));
  EXPECT_EQ(c.sections.links, (std::vector<Link>{Link::chained, Link::staggered}));
  EXPECT_EQ(c.sections.readout, Readout::linear_combination);
  EXPECT_EQ(c.sections.prompt_memory, PromptMemory::own);
  EXPECT_EQ(c.sections.cross_attention.layers, (std::vector<int>{0, 3}));
  EXPECT_EQ(c.sections.cross_attention.window, 5);
  EXPECT_EQ(c.sections.cross_attention.lag, 0);
  EXPECT_FALSE(c.sections.cross_attention.rope || c.sections.cross_attention.memory_norm);
}

TEST(Config, BosIsAddedByDefaultWhereThereIsOne) {
  EXPECT_TRUE(parsed(changed("/bos_token_id", 7)).add_bos);
  EXPECT_FALSE(parsed(changed("/bos_token_id", nullptr)).add_bos);
}

TEST(Config, RopeScalingNoneComesInThreeSpellings) {
  EXPECT_FALSE(parsed(changed("/rope_scaling", nullptr)).rope_scaling);
  EXPECT_FALSE(parsed(changed("/rope_scaling", {{"type", "default"}})).rope_scaling);
  EXPECT_FALSE(parsed(changed("/rope_scaling", {{"rope_type", "default"}})).rope_scaling);
  const ModelConfig linear = parsed(changed("/rope_scaling", {{"type", "linear"}, {"factor", 2}}));
  EXPECT_EQ(linear.rope_scaling.value().type, RopeScaling::Type::linear);
  EXPECT_EQ(linear.rope_scaling->factor, 2);
}

TEST(Config, BlocksStandInStaggeredSectionsOnly) {
  json root = changed("/sections/links", {"staggered", "chained"});
  root["sections"]["cross_attention"]["layers"] = {1};
  const ModelConfig c = parsed(root);
  EXPECT_TRUE(c.starts_from_embedding(0) && c.starts_from_embedding(1));
  EXPECT_FALSE(c.starts_from_embedding(2));
  EXPECT_FALSE(c.has_memory(0) || c.has_memory(2));
  EXPECT_TRUE(c.has_memory(1));
  EXPECT_FALSE(c.has_cross_attention(1, 0));
  EXPECT_TRUE(c.has_cross_attention(1, 1));
  EXPECT_FALSE(c.has_cross_attention(0, 1) || c.has_cross_attention(2, 1));
  EXPECT_FALSE(parsed(changed("/sections/cross_attention/enabled", false)).has_memory(1));
}

struct Refusal {
  json root;
  std::string named;  // what the message must contain
};

TEST(Config, RefusesImpossibleValuesByTheirPath) {
  const std::string cross = "/sections/cross_attention";
  const std::vector<Refusal> refusals = {
      {changed("/hiden_size", 1), "unknown key 'hiden_size'"},
      {changed(cross + "/windw", 1), "unknown key 'sections.cross_attention.windw'"},
      {changed("/sections/recurrent/x", 1), "unknown key 'sections.recurrent.x'"},
      {changed("/rope_scaling", {{"type", "linear"}, {"factr", 2}}), "unknown key 'rope_scaling.factr'"},
      {changed("/hidden_size", "64"), "'hidden_size' must be an integer, found string \"64\""},
      {changed("/hidden_size", 64.0), "'hidden_size' must be an integer"},
      {changed("/hidden_size", true), "'hidden_size' must be an integer"},
      {changed("/hidden_size", 0), "'hidden_size' must be at least 1, found 0"},
      {changed("/hidden_size", 66), "head_dim"},
      {changed("/vocab_size", 3000000000), "'vocab_size'"},
      {changed("/vocab_size", -3000000000), "'vocab_size'"},
      {changed("/vocab_size", 18446744073709551615u), "'vocab_size'"},
      {changed("/vocab_size", -1), "'vocab_size' must be at least 1"},
      {changed("/intermediate_size", 0), "'intermediate_size'"},
      {changed("/num_attention_heads", 0), "num_attention_heads"},
      {changed("/num_key_value_heads", 3), "'num_key_value_heads' must divide num_attention_heads = 4"},
      {changed("/num_key_value_heads", 8), "'num_key_value_heads'"},
      {changed("/num_key_value_heads", 0), "'num_key_value_heads'"},
      {changed("/head_dim", 15), "'head_dim' must be even"},
      {changed("/head_dim", 0), "'head_dim'"},
      {changed("/max_position_embeddings", 0), "'max_position_embeddings' must be at least 1"},
      {changed("/rms_norm_eps", 0), "'rms_norm_eps'"},
      {changed("/rms_norm_eps", "x"), "'rms_norm_eps' must be a number"},
      {changed("/rope_theta", -1), "'rope_theta'"},
      {changed("/embedding_scale", 0), "'embedding_scale'"},
      {changed("/embedding_scale", 1e39), "'embedding_scale' must be finite"},
      {changed("/rope_scaling", {{"rope_type", "yarn"}, {"factor", 2}}), "'yarn'"},
      {changed("/rope_scaling", {{"factor", 2}}), "rope_scaling.rope_type"},
      {changed("/rope_scaling", {{"type", "linear"}}), "missing key 'rope_scaling.factor'"},
      {changed("/rope_scaling", {{"type", "linear"}, {"factor", 0}}), "'rope_scaling.factor'"},
      {changed("/rope_scaling", {{"type", "linear"}, {"rope_type", "llama3"}, {"factor", 2}}),
       "'rope_scaling.type'"},
      {changed("/rope_scaling", {{"type", "llama3"},
                                 {"factor", 2},
                                 {"low_freq_factor", 4},
                                 {"high_freq_factor", 4},
                                 {"original_max_position_embeddings", 64}}),
       "'rope_scaling.high_freq_factor'"},
      {changed("/rope_scaling", 2), "'rope_scaling' must be an object"},
      {changed("/hidden_act", "relu"), "'hidden_act' has the unknown value 'relu'"},
      {changed("/tie_word_embeddings", 1), "'tie_word_embeddings' must be true or false"},
      {changed("/bos_token_id", 300), "'bos_token_id' must be a token id from 0 to 299, found 300"},
      {changed("/eos_token_id", {1, -1}), "'eos_token_id'"},
      {changed("/eos_token_id", "2"), "'eos_token_id' must be an integer or a list"},
      {changed("/add_bos", true), "'add_bos'"},
      {changed("/sections", 3), "'sections' must be an object"},
      {changed("/sections/count", 0), "'sections.count'"},
      {changed("/sections/count", 70000), "'sections.count'"},
      {changed("/sections/layers_per_section", 0), "'sections.layers_per_section' must be at least 1"},
      {changed("/sections/layers_per_section", {1, 2}), "'sections.layers_per_section' must list one number"},
      {changed("/sections/layers_per_section", {1, 0, 2}),
       "'sections.layers_per_section' must be at least 1"},
      {changed("/sections/layers_per_section", 2000000000), "'sections.layers_per_section'"},
      {changed("/sections/layers_per_section", "2"),
       "'sections.layers_per_section' must be an integer or a list"},
      {changed("/sections/weights", "tied"), "'sections.weights'"},
      {changed("/sections/links", {"chained"}), "'sections.links'"},
      {changed("/sections/links", {"chained", 1}), "'sections.links'"},
      {changed("/sections/links", "parallel"), "'sections.links' has the unknown value 'parallel'"},
      {changed("/sections/readout", "first"), "'sections.readout'"},
      {changed("/sections/recurrent/prompt_memory", "none"), "'sections.recurrent.prompt_memory'"},
      {changed(cross + "/window", 0), "'sections.cross_attention.window' must be at least 1"},
      {changed(cross + "/window", 1.5), "'sections.cross_attention.window' must be an integer"},
      {changed(cross + "/lag", 2), "'sections.cross_attention.lag' must be 0 or 1"},
      {changed(cross + "/lag", -1), "'sections.cross_attention.lag' must be 0 or 1"},
      {changed(cross + "/layers", {2}), "'sections.cross_attention.layers' names layer 2"},
      {changed(cross + "/layers", {-1}), "'sections.cross_attention.layers' names layer -1"},
      {changed(cross + "/layers", {1, 1}), "'sections.cross_attention.layers' names layer 1 twice"},
      {changed(cross + "/layers", json::array()), "'sections.cross_attention.layers' lists no layer"},
      {changed(cross + "/layers", "some"), "'sections.cross_attention.layers' must be 'all' or a list"},
  };
  for (const Refusal& refusal : refusals) {
    const std::string message = failure_of(refusal.root.dump());
    EXPECT_NE(message.find(refusal.named), std::string::npos) << message << "\n  for " << refusal.root;
  }
}

TEST(Config, NamesEachMissingKey) {
  for (const char* key : {"vocab_size", "hidden_size", "intermediate_size", "num_attention_heads",
                          "max_position_embeddings", "sections"}) {
    json root = minimal();
    root.erase(key);
    const std::string message = failure_of(root.dump());
    EXPECT_NE(message.find("missing key '" + std::string(key)), std::string::npos) << message;
  }
}

TEST(Config, SharedWeightsNeedEqualLayerCounts) {
  json root = recurrent();
  root["sections"]["layers_per_section"] = {2, 3};
  EXPECT_NE(failure_of(root.dump()).find("sections.layers_per_section"), std::string::npos);
  root["sections"]["layers_per_section"] = {3, 3};
  EXPECT_EQ(failure_of(root.dump()), "accepted");
}

TEST(Config, RefusesTextThatIsNoProperJson) {
  EXPECT_NE(failure_of("").find("not valid JSON"), std::string::npos);
  EXPECT_NE(failure_of("[1]").find("must be a JSON object"), std::string::npos);
  EXPECT_NE(failure_of("{\"hidden_size\": NaN}").find("not valid JSON"), std::string::npos);
  EXPECT_NE(failure_of("{\"hidden_size\": 1e999}").find("not valid JSON"), std::string::npos);
  EXPECT_NE(failure_of("{\"a\": \"\xff\"}").find("not valid JSON"), std::string::npos);
  std::string twice = minimal().dump();
  twice.insert(1, "\"vocab_size\": 299, ");
  EXPECT_NE(failure_of(twice).find("\"vocab_size\" is given twice"), std::string::npos);
}

TEST(Config, ProductsOfAllowedSizesStayInRange) {
  json root = changed("/vocab_size", 2147483648);
  root["hidden_size"] = 2147483648;
  EXPECT_NE(failure_of(root.dump()).find("beyond what is supported"), std::string::npos);
}

TEST(Config, JsonAndBackIsTheSame) {
  json full = changed("/rope_scaling", {{"type", "llama3"},
                                        {"factor", 8.25},
                                        {"low_freq_factor", 1},
                                        {"high_freq_factor", 4},
                                        {"original_max_position_embeddings", 64}});
  full["bos_token_id"] = 5;
  full["add_bos"] = false;
  full["eos_token_id"] = 6;
  full["rms_norm_eps"] = 1.0000000000000002e-6;
  full["sections"]["links"] = {"staggered", "chained"};
  full["sections"]["cross_attention"] = {{"layers", {1}}, {"window", 9}, {"lag", 0}};
  for (const json& root : {minimal(), recurrent(), full}) {
    const std::string once = parsed(root).to_json();
    EXPECT_EQ(ModelConfig::from_json(once).to_json(), once);
    const json given = json::parse(once);
    for (const auto& [key, value] : root.items()) {
      if (value.is_number() && key != "eos_token_id") {
        EXPECT_EQ(given[key], value) << key;
      }
    }
  }
  const ModelConfig back = ModelConfig::from_json(parsed(full).to_json());
  EXPECT_EQ(back.eos_token_ids, std::vector<std::int64_t>{6});
  EXPECT_EQ(back.rope_scaling.value().factor, 8.25);
  EXPECT_EQ(back.sections.cross_attention.window, 9);
  EXPECT_EQ(back.sections.links[1], Link::chained);
}

TEST(Config, RecurrentDecodingSaysWhatIsInItsWay) {
  EXPECT_EQ(parsed(recurrent()).recurrent_refusal(), "");
  const std::vector<std::pair<std::string, json>> hindrances = {{"weights", "separate"},
                                                                {"count", 1},
                                                                {"links", "chained"},
                                                                {"readout", "linear_combination"},
                                                                {"cross_attention", {{"lag", 0}}},
                                                                {"cross_attention", {{"enabled", false}}}};
  const std::vector<std::string> named = {"weights", "count", "links", "readout", "lag", "enabled"};
  for (std::size_t i = 0; i < hindrances.size(); ++i) {
    json root = recurrent();
    root["sections"][hindrances[i].first] = hindrances[i].second;
    const std::string refusal = parsed(root).recurrent_refusal();
    EXPECT_NE(refusal.find(named[i]), std::string::npos) << refusal;
  }
}

}  // namespace
}  // namespace stagformer
