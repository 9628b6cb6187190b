// Which datasets each kind of model asks for.
#include "checkpoint/schema.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "unit/checkpoint/sample_checkpoint.hpp"

namespace stagformer::internal {
namespace {

using nlohmann::json;

struct Schema {
  explicit Schema(const json& config) : requests(schema_of(ModelConfig::from_json(config.dump()))) {
    for (const DatasetRequest& request : requests) by_name[request.name] = request;
  }
  bool has(const std::string& name) const { return by_name.count(name) > 0; }
  bool optional(const std::string& name) const { return by_name.at(name).optional; }
  std::vector<std::int64_t> shape(const std::string& name) const { return by_name.at(name).shape; }
  bool has_any(const std::string& part) const {
    return std::any_of(requests.begin(), requests.end(),
                       [&](const DatasetRequest& r) { return r.name.find(part) != std::string::npos; });
  }

  std::vector<DatasetRequest> requests;
  std::map<std::string, DatasetRequest> by_name;
};

TEST(Schema, StaggeredModelHasEveryDatasetOnce) {
  const Schema schema(test::sample_config());
  EXPECT_EQ(schema.requests.size(), schema.by_name.size());
  // embedding, final norm; per layer 5 + 4; in section 1 memory norm and 2 x 5 of cross-attention
  EXPECT_EQ(schema.requests.size(), 2u + 4 * 9 + 1 + 2 * 5);
  EXPECT_FALSE(schema.has("head/weight"));
  EXPECT_FALSE(schema.has_any("sections/0/layers/0/cross_attention"));
  EXPECT_FALSE(schema.has("sections/0/memory_norm/weight"));
  EXPECT_FALSE(schema.has_any("bias"));
}

TEST(Schema, ShapesFollowTheConfiguration) {
  json config = test::sample_config();
  config["head_dim"] = 10;
  config["tie_word_embeddings"] = false;
  config["sections"]["readout"] = "linear_combination";
  const Schema schema(config);
  using Shape = std::vector<std::int64_t>;
  EXPECT_EQ(schema.shape("embedding/weight"), (Shape{300, 64}));
  EXPECT_EQ(schema.shape("head/weight"), (Shape{300, 64}));
  EXPECT_EQ(schema.shape("readout/coefficients"), (Shape{2}));
  const std::string layer = "sections/1/layers/1/";
  EXPECT_EQ(schema.shape(layer + "cross_attention/q/weight"), (Shape{40, 64}));
  EXPECT_EQ(schema.shape(layer + "cross_attention/k/weight"), (Shape{20, 64}));
  EXPECT_EQ(schema.shape(layer + "cross_attention/v/weight"), (Shape{20, 64}));
  EXPECT_EQ(schema.shape(layer + "cross_attention/o/weight"), (Shape{64, 40}));
  EXPECT_EQ(schema.shape(layer + "feed_forward/gate/weight"), (Shape{96, 64}));
  EXPECT_EQ(schema.shape(layer + "feed_forward/down/weight"), (Shape{64, 96}));
  EXPECT_TRUE(schema.by_name.at(layer + "feed_forward/norm/weight").f32_only);
  EXPECT_FALSE(schema.by_name.at(layer + "feed_forward/up/weight").f32_only);
}

TEST(Schema, CrossAttentionFollowsLinksLayersAndSwitches) {
  json config = test::sample_config();
  config["sections"]["count"] = 3;
  config["sections"]["links"] = {"staggered", "chained"};
  config["sections"]["cross_attention"] = {{"layers", {1}}};
  const Schema some(config);
  EXPECT_TRUE(some.has("sections/1/layers/1/cross_attention/v/weight"));
  EXPECT_FALSE(some.has_any("sections/1/layers/0/cross_attention"));
  EXPECT_FALSE(some.has_any("sections/2/layers/1/cross_attention"));
  EXPECT_FALSE(some.has("sections/2/memory_norm/weight"));
  config["sections"]["cross_attention"] = {{"memory_norm", false}};
  EXPECT_FALSE(Schema(config).has_any("memory_norm"));
  config["sections"]["cross_attention"] = {{"enabled", false}};
  EXPECT_FALSE(Schema(config).has_any("memory_norm") || Schema(config).has_any("cross_attention"));
}

TEST(Schema, WindowOfOneNeedsNoQueriesAndKeys) {
  json config = test::sample_config();
  const std::string block = "sections/1/layers/0/cross_attention/";
  EXPECT_FALSE(Schema(config).optional(block + "q/weight"));
  config["sections"]["cross_attention"]["window"] = 1;
  const Schema schema(config);
  EXPECT_TRUE(schema.optional(block + "q/weight") && schema.optional(block + "k/weight"));
  EXPECT_FALSE(schema.optional(block + "v/weight") || schema.optional(block + "norm/weight"));
  EXPECT_FALSE(schema.optional("sections/1/layers/0/self_attention/q/weight"));
}

TEST(Schema, BiasesAreForQueriesKeysAndValues) {
  json config = test::sample_config();
  config["attention_bias"] = true;
  const Schema schema(config);
  EXPECT_FALSE(schema.optional("sections/1/layers/0/self_attention/k/bias"));
  EXPECT_TRUE(schema.optional("sections/1/layers/0/cross_attention/k/bias"));
  EXPECT_EQ(schema.shape("sections/1/layers/0/self_attention/q/bias"), std::vector<std::int64_t>{64});
  EXPECT_EQ(schema.shape("sections/1/layers/0/self_attention/v/bias"), std::vector<std::int64_t>{32});
  EXPECT_FALSE(schema.has_any("o/bias") || schema.has_any("gate/bias"));
}

TEST(Schema, TreeFindsWhatIsRequired) {
  json config = test::sample_config();
  config["sections"]["cross_attention"]["window"] = 1;
  const std::vector<DatasetRequest> requests = schema_of(ModelConfig::from_json(config.dump()));
  SchemaNode tree = schema_tree(requests);
  SchemaNode& block = tree.children.at("sections")
                          .children.at("1")
                          .children.at("layers")
                          .children.at("0")
                          .children.at("cross_attention");
  EXPECT_EQ(block.children.at("q").first_required(), nullptr);
  EXPECT_EQ(block.first_required()->name, "sections/1/layers/0/cross_attention/norm/weight");
  EXPECT_EQ(tree.children.at("embedding").children.at("weight").request, &requests.front());
}

TEST(Schema, SharedBlocksAreSelfAttentionAndFeedForward) {
  EXPECT_TRUE(shared_blocks(ModelConfig::from_json(test::sample_config().dump())).empty());
  const auto blocks = shared_blocks(ModelConfig::from_json(test::shared_config().dump()));
  ASSERT_EQ(blocks.size(), 4u);
  EXPECT_EQ(blocks[3].first, "sections/1/layers/1/feed_forward");
  EXPECT_EQ(blocks[3].second, "sections/0/layers/1/feed_forward");
}

}  // namespace
}  // namespace stagformer::internal
