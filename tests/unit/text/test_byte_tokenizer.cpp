#include <gtest/gtest.h>

#include "stagformer/error.hpp"
#include "text/tokenizer.hpp"

namespace stagformer::internal {
namespace {

TEST(ByteTokenizer, GivesEveryByteItsOwnId) {
  const auto tokenizer = make_tokenizer("byte", {});
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all.push_back(static_cast<char>(byte));
  const std::vector<std::int32_t> ids = tokenizer->encode(all);
  ASSERT_EQ(ids.size(), 256U);
  for (int byte = 0; byte < 256; ++byte) EXPECT_EQ(ids[static_cast<std::size_t>(byte)], byte);
  EXPECT_EQ(tokenizer->decode(ids), all);
  EXPECT_EQ(tokenizer->vocab_size(), 258);
  EXPECT_TRUE(tokenizer->encode("").empty());
}

TEST(ByteTokenizer, HasNoTextForOtherIds) {
  const auto tokenizer = make_tokenizer("byte", {});
  for (const std::int32_t id : {-1, 256, 257, 258, 100000}) EXPECT_EQ(tokenizer->token_bytes(id), "") << id;
  EXPECT_EQ(tokenizer->decode(std::vector<std::int32_t>{256, 'h', 300, 'i', 257}), "hi");
}

TEST(MakeTokenizer, RefusesAnUnknownType) {
  try {
    make_tokenizer("wordpiece", {});
    FAIL();
  } catch (const CheckpointError& error) {
    EXPECT_NE(std::string(error.what()).find("wordpiece"), std::string::npos);
  }
}

}  // namespace
}  // namespace stagformer::internal
