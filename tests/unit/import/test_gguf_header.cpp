// GGUF headers: what is read, and that whatever is wrong ends in one message and in nothing else.
#include <gtest/gtest.h>

#include "import/gguf_header.hpp"
#include "unit/import/gguf_bytes.hpp"
#include "support/refusal.hpp"

namespace stagformer::internal {
namespace {

using test::add_tensor;
using test::Bytes;
using test::gguf_start;
using test::has;

GgufHeader parse(const std::vector<std::byte>& bytes) {
  auto header = parse_gguf_header("f.gguf", bytes, static_cast<std::int64_t>(bytes.size()));
  EXPECT_TRUE(header.has_value());
  return std::move(*header);
}

std::string refusal(const std::vector<std::byte>& bytes) {
  return test::refusal_of(
      [&] { parse_gguf_header("f.gguf", bytes, static_cast<std::int64_t>(bytes.size())); });
}

TEST(GgufHeader, WhatIsRead) {
  const std::vector<std::byte> file = test::good_gguf().get();
  const GgufHeader header = parse(file);
  EXPECT_EQ(header.text("general.architecture"), "llama");
  EXPECT_EQ(header.integer("llama.block_count"), 7);
  EXPECT_EQ(header.number("llama.block_count"), 7);
  EXPECT_EQ(header.number("llama.attention.layer_norm_rms_epsilon"), 1e-5);  // not 9.99999974738e-06
  EXPECT_EQ(*header.find_texts("words"), (std::vector<std::string_view>{"one", ""}));
  EXPECT_EQ(*header.find_numbers("scores", 2), (std::vector<double>{0.5, -2}));
  EXPECT_FALSE(header.find_integer("absent").has_value());
  ASSERT_EQ(header.tensors.size(), 2u);
  const std::int64_t data = static_cast<std::int64_t>(file.size()) - 32 - 34;
  EXPECT_EQ(header.tensors[0].shape, (std::vector<std::int64_t>{2, 4}));
  EXPECT_EQ(header.tensors[0].offset, data);
  EXPECT_EQ(header.tensors[0].bytes, 32);
  EXPECT_EQ(header.tensors[1].type, TensorType::q8_0);
  EXPECT_EQ(header.tensors[1].offset, data + 32);
  EXPECT_EQ(header.tensors[1].bytes, 34);
}

TEST(GgufHeader, KindsOfValues) {
  const std::vector<std::byte> file = test::good_gguf().get();
  const GgufHeader header = parse(file);
  const auto said = [&](auto&& ask) { return test::refusal_of([&] { ask(header); }); };
  EXPECT_TRUE(has(said([](auto& h) { h.integer("general.architecture"); }), "is no integer"));
  EXPECT_TRUE(has(said([](auto& h) { h.integer("words"); }), "is a list"));
  EXPECT_TRUE(has(said([](auto& h) { h.text("llama.block_count"); }), "is no text"));
  EXPECT_TRUE(has(said([](auto& h) { h.find_boolean("llama.block_count"); }), "neither true nor false"));
  EXPECT_TRUE(has(said([](auto& h) { h.find_texts("scores"); }), "no list of texts"));
  EXPECT_TRUE(has(said([](auto& h) { h.find_numbers("words", 2); }), "no list of numbers"));
  EXPECT_TRUE(has(said([](auto& h) { h.find_numbers("scores", 3); }), "2 values, expected 3"));
  EXPECT_TRUE(has(said([](auto& h) { h.integer("absent"); }), "'absent' is missing"));
}

// A reader brings the file in pieces: a prefix that is too short is no damage, until it is all there is.
TEST(GgufHeader, EveryPrefix) {
  const std::vector<std::byte> all = test::good_gguf().get();
  std::size_t header = 0;  // bytes that are enough
  for (std::size_t cut = 0; cut < all.size(); ++cut) {
    const std::span<const std::byte> prefix = std::span(all).first(cut);
    const bool is_enough =
        parse_gguf_header("f.gguf", prefix, static_cast<std::int64_t>(all.size())).has_value();
    if (is_enough && header == 0) header = cut;
    EXPECT_EQ(is_enough, header > 0) << cut;
    EXPECT_TRUE(has(refusal({prefix.begin(), prefix.end()}), "f.gguf: ")) << cut;
  }
  EXPECT_GT(header, all.size() - 32 - 34 - 32);
  EXPECT_LE(header, all.size() - 32 - 34);
}

// Any single byte may be anything: the reader accepts or refuses, and takes no memory that the file does not
// account for.
TEST(GgufHeader, EveryByteChanged) {
  const std::vector<std::byte> good = test::good_gguf().get();
  for (std::size_t at = 0; at + 66 < good.size(); ++at)
    for (const unsigned value : {0x00U, 0x01U, 0x7fU, 0x80U, 0xffU}) {
      std::vector<std::byte> bytes = good;
      bytes[at] = static_cast<std::byte>(value);
      const std::string said = refusal(bytes);
      EXPECT_FALSE(has(said, "another kind")) << at << " " << value << " " << said;
    }
}

TEST(GgufHeader, ImpossibleNumbers) {
  constexpr std::uint64_t kHuge = ~std::uint64_t{0};
  EXPECT_TRUE(has(refusal(gguf_start(kHuge, 0).get()), "18446744073709551615 tensors"));
  EXPECT_TRUE(has(refusal(gguf_start(0, kHuge).get()), "18446744073709551615 metadata entries"));
  EXPECT_TRUE(has(refusal(gguf_start(0, 1).number(kHuge).zeros(64).get()), "a metadata key has"));
  const auto value = [](std::uint32_t type) { return gguf_start(0, 1).text("key").number(type); };
  EXPECT_TRUE(has(refusal(value(8).number(kHuge).zeros(64).get()), "a metadata text has"));
  EXPECT_TRUE(has(refusal(value(8).number<std::uint64_t>(65).zeros(64).get()),
                  "needs 65 bytes, the file has 64 more"));
  EXPECT_TRUE(has(refusal(value(13).zeros(64).get()), "unknown type 13"));
  EXPECT_TRUE(has(refusal(value(9).number<std::uint32_t>(4).number(kHuge).zeros(64).get()), "do not fit"));
  EXPECT_TRUE(
      has(refusal(value(9).number<std::uint32_t>(8).number(kHuge / 8).zeros(64).get()), "do not fit"));
  EXPECT_TRUE(has(refusal(value(9).number<std::uint32_t>(9).zeros(64).get()), "list of lists"));
}

TEST(GgufHeader, Tensors) {
  const auto with = [](std::uint64_t columns, std::uint64_t rows, std::uint32_t type, std::uint64_t offset) {
    Bytes out = gguf_start(1, 0);
    return refusal(add_tensor(out, "t", columns, rows, type, offset).pad(32).zeros(128).get());
  };
  EXPECT_EQ(with(4, 8, 0, 0), "no error");
  EXPECT_TRUE(has(with(4, 9, 0, 0), "tensor 't' needs the bytes up to"));
  EXPECT_TRUE(has(with(4, 8, 0, 32), "tensor 't' needs the bytes up to"));
  EXPECT_TRUE(has(with(4, 8, 0, 1), "is not aligned to 32 bytes"));
  EXPECT_TRUE(has(with(4, 8, 0, ~std::uint64_t{31}), "behind the end"));
  EXPECT_TRUE(has(with(0, 8, 0, 0), "impossible extent of 0"));
  EXPECT_TRUE(has(with(std::uint64_t{1} << 32, std::uint64_t{1} << 32, 0, 0), "impossible extent"));
  EXPECT_TRUE(has(with(48, 1, 8, 0), "no multiple of 32"));
  EXPECT_TRUE(has(with(256, 1, 12, 0), "type Q4_K"));
  EXPECT_TRUE(has(with(4, 8, 77, 0), "type number 77"));
  Bytes five = gguf_start(1, 0);
  EXPECT_TRUE(has(refusal(five.text("t").number<std::uint32_t>(5).zeros(64).get()), "5 dimensions"));
}

TEST(GgufHeader, NoTensorOverAnotherAndNoNameTwice) {
  const auto two = [](const char* second, std::uint64_t offset) {
    Bytes out = gguf_start(2, 0);
    add_tensor(out, "a", 4, 4, 0, 32);
    return refusal(add_tensor(out, second, 4, 4, 0, offset).pad(32).zeros(192).get());
  };
  EXPECT_EQ(two("b", 96), "no error");
  EXPECT_TRUE(has(two("b", 64), "tensor 'b' lies over 'a'"));
  EXPECT_TRUE(has(two("b", 0), "tensor 'a' lies over 'b'"));
  EXPECT_TRUE(has(two("a", 96), "tensor 'a' is there twice"));
  Bytes keys = gguf_start(0, 2);
  for (int i = 0; i < 2; ++i) keys.text("key").number<std::uint32_t>(4).number<std::uint32_t>(1);
  EXPECT_TRUE(has(refusal(keys.get()), "'key' is there twice"));
}

TEST(GgufHeader, Alignment) {
  const auto with = [](std::uint32_t alignment) {
    Bytes out = gguf_start(1, 1);
    out.text("general.alignment").number<std::uint32_t>(4).number(alignment);
    return refusal(add_tensor(out, "t", 4, 8, 0, 64).pad(64).zeros(64 + 128).get());
  };
  EXPECT_EQ(with(64), "no error");
  for (const std::uint32_t wrong : {0U, 24U, 1U << 21, ~0U})
    EXPECT_TRUE(has(with(wrong), "no power of two")) << wrong;
}

}  // namespace
}  // namespace stagformer::internal
