// Headers of safetensors files.
#include <gtest/gtest.h>

#include "import/safetensors.hpp"
#include "unit/import/gguf_bytes.hpp"
#include "support/refusal.hpp"

namespace stagformer::internal {
namespace {

using test::Bytes;
using test::has;

std::vector<std::byte> file_of(const std::string& json, std::size_t data) {
  return Bytes().text(json).zeros(data).get();
}

std::string refusal(const std::vector<std::byte>& bytes) {
  return test::refusal_of(
      [&] { parse_safetensors_header("f.safetensors", bytes, static_cast<std::int64_t>(bytes.size())); });
}

constexpr const char* kGood =
    R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]},)"
    R"("a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}})";

TEST(Safetensors, WhatIsRead) {
  const std::vector<std::byte> bytes = file_of(kGood, 22);
  const auto tensors = parse_safetensors_header("f", bytes, static_cast<std::int64_t>(bytes.size()));
  ASSERT_TRUE(tensors && tensors->size() == 2);
  const SourceTensor &a = tensors->at(0), &b = tensors->at(1);
  EXPECT_EQ(a.name, "a");
  EXPECT_EQ(a.shape, (std::vector<std::int64_t>{2, 2}));
  EXPECT_EQ(a.offset, static_cast<std::int64_t>(bytes.size()) - 22);
  EXPECT_EQ(b.offset, a.offset + 16);
  EXPECT_EQ(b.bytes, 6);
  EXPECT_EQ(b.type, TensorType::bf16);
}

TEST(Safetensors, EveryPrefixAndEveryByte) {
  const std::vector<std::byte> all = file_of(kGood, 22);
  for (std::size_t cut = 0; cut < all.size(); ++cut) {
    const std::span<const std::byte> prefix = std::span(all).first(cut);
    const bool is_whole = cut >= all.size() - 22;
    EXPECT_EQ(parse_safetensors_header("f", prefix, static_cast<std::int64_t>(all.size())).has_value(),
              is_whole);
    EXPECT_TRUE(has(refusal({prefix.begin(), prefix.end()}), "f.safetensors: ")) << cut;
  }
  for (std::size_t at = 0; at < all.size() - 22; ++at)
    for (const unsigned value : {0x00U, '"' + 0U, '9' + 0U, '[' + 0U, 0xffU}) {
      std::vector<std::byte> bytes = all;
      bytes[at] = static_cast<std::byte>(value);
      EXPECT_FALSE(has(refusal(bytes), "another kind")) << at << " " << value << " " << refusal(bytes);
    }
}

TEST(Safetensors, WhatIsRefused) {
  const auto said = [](const std::string& entry, std::size_t data = 16) {
    return refusal(file_of("{\"t\":" + entry + "}", data));
  };
  EXPECT_EQ(said(R"({"dtype":"F32","shape":[4],"data_offsets":[0,16]})"), "no error");
  EXPECT_TRUE(has(said(R"({"dtype":"I64","shape":[2],"data_offsets":[0,16]})"), "'t' has type I64"));
  EXPECT_TRUE(has(said(R"({"shape":[2],"data_offsets":[0,16]})"), "type missing"));
  EXPECT_TRUE(
      has(said(R"({"dtype":"F32","shape":[],"data_offsets":[0,4]})", 4), "'t.shape' has 0 dimensions"));
  EXPECT_TRUE(has(said(R"({"dtype":"F32","shape":[0],"data_offsets":[0,0]})", 0), "impossible extent"));
  EXPECT_TRUE(has(said(R"({"dtype":"F32","shape":[-4],"data_offsets":[0,16]})"), "impossible extent"));
  EXPECT_TRUE(has(said(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,16]})"),
                  "impossible extent"));
  EXPECT_TRUE(
      has(said(R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,16]})"), "impossible"));
  EXPECT_TRUE(
      has(said(R"({"dtype":"F32","shape":[3],"data_offsets":[0,16]})"), "give 16 bytes, the shape needs 12"));
  EXPECT_TRUE(
      has(said(R"({"dtype":"F32","shape":[4],"data_offsets":[0,17]})"), "do not lie in the file's 16"));
  EXPECT_TRUE(has(said(R"({"dtype":"F32","shape":[4],"data_offsets":[16,0]})"), "do not lie"));
  EXPECT_TRUE(has(said(R"({"dtype":"F32","shape":[4],"data_offsets":[-1,15]})"), "do not lie"));
  EXPECT_TRUE(
      has(said(R"({"dtype":"F32","shape":[4],"data_offsets":[0,18446744073709551615]})"), "do not lie"));
  EXPECT_TRUE(has(said(R"({"dtype":"F32","shape":[4.5],"data_offsets":[0,16]})"), "no list of integers"));
  EXPECT_TRUE(has(said(R"({"dtype":"F32","shape":[4],"data_offsets":[0,16]})", 20), "4 bytes at the end"));
  EXPECT_TRUE(has(said(R"({"dtype":"F32","shape":[3],"data_offsets":[4,16]})"), "has a gap in front"));
  EXPECT_TRUE(has(said("7"), "is no object"));
}

TEST(Safetensors, Structure) {
  const std::string a = R"("a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]})";
  EXPECT_TRUE(has(refusal(file_of("{" + a + "," + a + "}", 16)), "key 'a' is there twice"));
  const std::string over = R"(,"b":{"dtype":"F32","shape":[4],"data_offsets":[8,24]}})";
  EXPECT_TRUE(has(refusal(file_of("{" + a + over, 24)), "tensor 'b' lies over another one"));
  EXPECT_TRUE(has(refusal(file_of("[]", 0)), "holds no JSON object"));
  EXPECT_TRUE(has(refusal(file_of("{\"a\":" + std::string(1 << 16, '['), 0)), "nested too deeply"));
  EXPECT_TRUE(has(refusal(Bytes().number(~std::uint64_t{0}).zeros(100).get()), "the JSON header has"));
}

}  // namespace
}  // namespace stagformer::internal
