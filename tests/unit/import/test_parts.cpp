// The small parts of an import: names, cuts, number types, configurations, rotary factors.
#include <gtest/gtest.h>

#include <cmath>

#include "import/gguf_config.hpp"
#include "import/huggingface_config.hpp"
#include "import/pre_tokenizers.hpp"
#include "import/sections.hpp"
#include "import/source.hpp"
#include "import/tensor_type.hpp"
#include "text/regex.hpp"
#include "support/refusal.hpp"

namespace stagformer::internal {
namespace {

using test::has;

TEST(Names, BothDirections) {
  for (const NameTable* table : {&gguf_names(), &huggingface_names()}) {
    for (const auto& [theirs, ours] : table->whole) {
      EXPECT_EQ(table->ours(theirs), ours);
      EXPECT_EQ(table->theirs(ours), theirs);
    }
    for (const auto& [theirs, ours] : table->parts) {
      EXPECT_EQ(table->ours(table->layer_prefix + "17." + theirs), std::string("layers/17/") + ours);
      EXPECT_EQ(table->theirs(std::string("layers/17/") + ours), table->layer_prefix + "17." + theirs);
    }
  }
  for (const char* odd :
       {"", "blk.", "blk.1", "blk..attn_q.weight", "blk.01.attn_q.weight", "blk.-1.attn_q.weight",
        "blk.1x.attn_q.weight", "blk.99999999999999999999.attn_q.weight", "blk.1.attn_q.weights"})
    EXPECT_EQ(gguf_names().ours(odd), "") << odd;
}

TEST(Sections, Cuts) {
  using Counts = std::vector<int>;
  EXPECT_EQ(cut_layers(30, {}, {}), (Counts{30}));
  EXPECT_EQ(cut_layers(30, 4, {}), (Counts{8, 8, 7, 7}));
  EXPECT_EQ(cut_layers(3, 3, {}), (Counts{1, 1, 1}));
  EXPECT_EQ(cut_layers(30, {}, "10,20"), (Counts{10, 20}));
  EXPECT_EQ(cut_layers(30, 2, "29,1"), (Counts{29, 1}));
  for (const char* list :
       {"", ",", "10,", ",20", "10;20", "10,20,0", "-10,40", "99999999999", "10,20 ", "29"})
    EXPECT_THROW(cut_layers(30, {}, list), UsageError) << list;
  EXPECT_THROW(cut_layers(30, 31, {}), UsageError);
  EXPECT_THROW(cut_layers(30, 3, "10,20"), UsageError);
}

TEST(TensorTypes, Float16IsExact) {
  const std::vector<std::uint16_t> bits = {0x0000, 0x8000, 0x3c00, 0xc000, 0x7bff, 0x0001, 0x03ff, 0x0400};
  std::vector<float> values(bits.size());
  row_to_f32(TensorType::f16, std::as_bytes(std::span(bits)), values);
  EXPECT_EQ(values, (std::vector<float>{0, -0.0F, 1, -2, 65504, 0x1p-24F, 0x3ffp-24F, 0x1p-14F}));
  EXPECT_TRUE(std::signbit(values[1]));
  EXPECT_EQ(bytes_of_row(TensorType::f16, 33), 66);
  EXPECT_EQ(exact_format(TensorType::f16), NumberFormat::f32);
  EXPECT_EQ(exact_format(TensorType::q4_1), NumberFormat::q4_1);
}

TEST(PreTokenizers, EveryPatternIsReadByTheEngine) {
  for (const char* name : {"default", "gpt-2", "smollm", "starcoder", "llama-bpe", "llama3", "llama-v3",
                           "qwen2", "deepseek-r1-qwen", "tekken"}) {
    const PreTokenizerRule* rule = find_pre_tokenizer(name);
    ASSERT_NE(rule, nullptr) << name;
    for (const char* pattern : rule->patterns) EXPECT_NO_THROW(Regex(pattern, false, name)) << pattern;
    EXPECT_TRUE(has(known_pre_tokenizers(), name));
  }
  EXPECT_EQ(find_pre_tokenizer(""), nullptr);
}

std::vector<float> llama3_factors(double factor, double theta, int half) {
  std::vector<float> factors;
  for (int j = 0; j < half; ++j) {
    const double wavelength = 2 * M_PI * std::pow(theta, static_cast<double>(j) / half);
    const double smooth = std::min(1.0, std::max(0.0, (8192 / wavelength - 1) / 3));
    factors.push_back(static_cast<float>(1 / ((1 - smooth) / factor + smooth)));
  }
  return factors;
}

TEST(RopeFactors, Llama3AndNothingElse) {
  for (const double factor : {8.0, 32.0}) {
    std::vector<float> factors = llama3_factors(factor, 500000, 64);
    EXPECT_EQ(factors.back(), static_cast<float>(factor));
    EXPECT_EQ(llama3_scaling_of(factors, 500000)["factor"], factor);
    EXPECT_TRUE(llama3_scaling_of(factors, 10000).is_null());
    for (const std::size_t at : {std::size_t{0}, std::size_t{30}, std::size_t{63}}) {
      std::vector<float> other = factors;
      other[at] *= 1.001F;
      EXPECT_TRUE(llama3_scaling_of(other, 500000).is_null()) << at;
    }
    factors[5] = std::nanf("");
    EXPECT_TRUE(llama3_scaling_of(factors, 500000).is_null());
  }
}

// Whatever stands in a config.json, it is read or refused.
TEST(HuggingFaceConfigs, EveryByteChanged) {
  const std::string good =
      R"({"architectures":["LlamaForCausalLM"],"vocab_size":99,"hidden_size":32,"intermediate_size":64,)"
      R"("num_hidden_layers":3,"num_attention_heads":4,"max_position_embeddings":64,"rms_norm_eps":1e-5,)"
      R"("rope_scaling":{"rope_type":"linear","factor":2.0},"tie_word_embeddings":true,"eos_token_id":[1,2]})";
  std::vector<std::string> warnings;
  const auto parse = [&](const std::string& text) {
    return parse_huggingface_config("config.json", std::as_bytes(std::span(text)), warnings);
  };
  const HuggingFaceConfig read = parse(good);
  EXPECT_EQ(read.layers, 3);
  EXPECT_EQ(read.config["num_key_value_heads"], 4);
  EXPECT_EQ(read.config["rope_theta"], 10000);
  EXPECT_TRUE(warnings.empty());
  for (std::size_t at = 0; at < good.size(); ++at)
    for (const char value : {'\0', '"', '9', '-', '[', '}', 'n', '\xff'}) {
      std::string text = good;
      text[at] = value;
      const std::string said = test::refusal_of([&] { parse(text); });
      EXPECT_FALSE(has(said, "another kind")) << at << value << said;
    }
}

}  // namespace
}  // namespace stagformer::internal
