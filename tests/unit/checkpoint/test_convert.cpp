// Conversions between all number formats and between one file and several.
#include "checkpoint/convert.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "checkpoint/inspect.hpp"
#include "checkpoint/tensor_reader.hpp"
#include "unit/checkpoint/sample_checkpoint.hpp"

namespace stagformer::internal {
namespace {

using nlohmann::json;
using test::has;

constexpr NumberFormat kFormats[] = {NumberFormat::f32, NumberFormat::bf16, NumberFormat::q8_0,
                                     NumberFormat::q4_0, NumberFormat::q4_1};

class Convert : public test::CheckpointTest {
 protected:
  static ConvertOptions options(const std::string& in, const std::string& out, std::optional<NumberFormat> to,
                                bool split = false) {
    ConvertOptions o;
    o.input = in;
    o.output = out;
    o.to = to;
    o.split = split;
    return o;
  }
};

std::vector<std::byte> stored_of(const CheckpointIndex& index, const std::string& name) {
  std::vector<std::byte> stored(static_cast<std::size_t>(index.datasets.at(name).bytes));
  TensorReader(index, true).read(name, stored);
  return stored;
}

TEST_F(Convert, FromFullPrecisionIsTheQuantiserApplied) {
  test::write_sample(path("a.h5"), test::sample_config(), {NumberFormat::f32, {}, "sentencepiece", "bytes"});
  const CheckpointIndex before = read_checkpoint_index(path("a.h5"));
  for (const NumberFormat format : kFormats) {
    SCOPED_TRACE(name_of(format));
    const ConvertReport report = convert_checkpoint(options(path("a.h5"), path("b.h5"), format));
    const CheckpointIndex after = read_checkpoint_index(path("b.h5"));
    EXPECT_EQ(after.config_json, before.config_json);
    EXPECT_EQ(after.tokenizer_model, before.tokenizer_model);
    EXPECT_TRUE(after.warnings.empty() && report.kept.empty());
    std::int64_t bytes = 0;
    for (const DatasetRequest& request : schema_of(after.config)) {
      const DatasetInfo& info = after.datasets.at(request.name);
      EXPECT_EQ(info.format, request.f32_only ? NumberFormat::f32 : format) << request.name;
      EXPECT_EQ(stored_of(after, request.name), test::sample_stored(request, info.format)) << request.name;
      bytes += info.bytes;
    }
    EXPECT_EQ(report.output_bytes, bytes);
    EXPECT_EQ(report.stored_datasets, static_cast<std::int64_t>(after.datasets.size()));
    // 2 x 2 layers of 7 matrices, 2 x 4 of cross-attention, the embedding
    EXPECT_EQ(report.converted, format == NumberFormat::f32 ? 0 : 4 * 7 + 2 * 4 + 1);
  }
}

TEST_F(Convert, EveryPairOfFormatsStaysClose) {
  test::write_sample(path("a.h5"), test::sample_config());
  const std::string name = "sections/0/layers/0/feed_forward/down/weight";
  const std::vector<float> exact = test::sample_values(name, 64 * 96);
  for (const NumberFormat from : kFormats)
    for (const NumberFormat to : kFormats) {
      convert_checkpoint(options(path("a.h5"), path("from.h5"), from));
      convert_checkpoint(options(path("from.h5"), path("to.h5"), to));
      const std::vector<std::byte> stored = stored_of(read_checkpoint_index(path("to.h5")), name);
      std::vector<float> row(96);
      double error = 0;
      for (std::int64_t r = 0; r < 64; ++r) {
        dequantize_row(to, 96, stored.data() + r * stored_row_bytes(to, 96), row.data());
        for (std::int64_t c = 0; c < 96; ++c)
          error = std::max<double>(error, std::abs(row[c] - exact[r * 96 + c]));
      }
      // A 4-bit block of this sample spans up to about 4: steps of 0.27, and half of one is lost each time.
      EXPECT_LT(error, from < NumberFormat::q4_0 && to < NumberFormat::q4_0 ? 0.02 : 0.6)
          << name_of(from) << name_of(to);
    }
}

TEST_F(Convert, SplitAndBackKeepsEveryByteAndTheSharing) {
  for (const json& config : {test::sample_config(), test::shared_config()}) {
    test::write_sample(path("a.h5"), config, {NumberFormat::q8_0});
    const ConvertReport split = convert_checkpoint(options(path("a.h5"), path("b.h5"), std::nullopt, true));
    EXPECT_EQ(split.files,
              (std::vector<std::string>{path("b.h5"), path("b.section-0.h5"), path("b.section-1.h5")}));
    convert_checkpoint(options(path("b.h5"), path("c.h5"), std::nullopt));
    const CheckpointIndex a = read_checkpoint_index(path("a.h5")), b = read_checkpoint_index(path("b.h5")),
                          c = read_checkpoint_index(path("c.h5"));
    EXPECT_EQ(a.digest(), b.digest());
    EXPECT_EQ(a.digest(), c.digest());
    EXPECT_EQ(b.files.size(), 3u);
    const std::int64_t linked = config == test::shared_config() ? 18 : 0;  // 2 layers of 5 + 4 datasets
    for (const char* name : {"a.h5", "b.h5", "c.h5"})
      EXPECT_EQ(inspect_checkpoint(path(name), true).linked_datasets, linked) << name;
    EXPECT_EQ(split.linked_datasets, linked);
    EXPECT_EQ(split.converted, 0);
  }
}

TEST_F(Convert, SharedBlocksBecomeOneLinkEach) {
  test::write_sample(path("a.h5"), test::shared_config());
  convert_checkpoint(options(path("a.h5"), path("b.h5"), NumberFormat::bf16));
  test::edit_file(path("b.h5"), [](hid_t file) {
    H5L_info_t info;
    ASSERT_GE(H5Lget_info(file, "sections/1/layers/1/feed_forward", &info, H5P_DEFAULT), 0);
    EXPECT_EQ(info.type, H5L_TYPE_SOFT);
    char target[100] = {};
    H5Lget_val(file, "sections/1/layers/1/feed_forward", target, sizeof(target), H5P_DEFAULT);
    EXPECT_STREQ(target, "/sections/0/layers/1/feed_forward");
  });
}

TEST_F(Convert, MatricesWithoutWholeBlocksKeepTheirFormat) {
  json config = test::sample_config();
  config["intermediate_size"] = 100;
  test::write_sample(path("a.h5"), config, {NumberFormat::bf16});
  const ConvertReport report = convert_checkpoint(options(path("a.h5"), path("b.h5"), NumberFormat::q4_0));
  ASSERT_EQ(report.kept.size(), 4u);
  EXPECT_EQ(report.kept[0], "sections/0/layers/0/feed_forward/down/weight");
  const CheckpointIndex after = read_checkpoint_index(path("b.h5"));
  EXPECT_EQ(after.datasets.at(report.kept[0]).format, NumberFormat::bf16);
  EXPECT_EQ(after.datasets.at("sections/0/layers/0/feed_forward/up/weight").format, NumberFormat::q4_0);
}

TEST_F(Convert, ProgressReachesTheEnd) {
  test::write_sample(path("a.h5"), test::shared_config());
  ConvertOptions o = options(path("a.h5"), path("b.h5"), NumberFormat::q8_0);
  std::int64_t last = 0, all = 0;
  o.progress = [&](std::int64_t done, std::int64_t total) {
    EXPECT_GT(done, last);
    last = done;
    all = total;
  };
  const ConvertReport report = convert_checkpoint(o);
  EXPECT_EQ(last, all);
  EXPECT_EQ(all, report.input_bytes);
}

TEST_F(Convert, NeverWritesOverItsInput) {
  test::SampleOptions sample;
  sample.writer.split = true;
  test::write_sample(path("a.h5"), test::sample_config(), sample);
  const auto refusal = [&](const std::string& in, const std::string& out, bool split) {
    return test::message_of<InputError>(
        [&] { convert_checkpoint(options(in, out, NumberFormat::bf16, split)); });
  };
  EXPECT_TRUE(has(refusal(path("a.h5"), path("a.h5"), false), "is a file of the input checkpoint"));
  EXPECT_TRUE(has(refusal(path("a.h5"), path("a.section-1.h5"), false), "is a file of the input checkpoint"));
  std::filesystem::create_symlink(path("a.h5"), path("link.h5"));
  EXPECT_TRUE(has(refusal(path("a.h5"), path("link.h5"), false), "is a file of the input checkpoint"));
  EXPECT_TRUE(has(refusal(path("link.h5"), path("a.h5"), true), "is a file of the input checkpoint"));
  EXPECT_NO_THROW(inspect_checkpoint(path("a.h5"), true));
}

TEST_F(Convert, DamagedInputLeavesNoOutput) {
  test::write_sample(path("a.h5"), test::sample_config());
  const std::string name = "sections/1/layers/1/feed_forward/up/weight";
  test::flip_bit(path("a.h5"), read_checkpoint_index(path("a.h5")).datasets.at(name).offset + 10);
  const auto refusal = [&] {
    return test::message_of<CheckpointError>(
        [&] { convert_checkpoint(options(path("a.h5"), path("b.h5"), NumberFormat::bf16)); });
  };
  EXPECT_TRUE(has(refusal(), path("a.h5") + ": " + name + ": wrong checksum"));
  EXPECT_EQ(files(), std::vector<std::string>{"a.h5"});
}

/// Puts one value into the embedding and takes its checksum away.
void plant(const std::string& path, std::int64_t index, float value) {
  const std::int64_t offset = read_checkpoint_index(path).datasets.at("embedding/weight").offset;
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(offset + index * 4);
  file.write(reinterpret_cast<const char*>(&value), 4);
  file.close();
  test::edit_file(path, [](hid_t f) { H5Adelete_by_name(f, "embedding/weight", "xxh3_64", H5P_DEFAULT); });
}

TEST_F(Convert, ValuesThatAreNotFiniteOrDoNotFitAreRefused) {
  const auto refusal = [&](float value, NumberFormat to) {
    test::write_sample(path("a.h5"), test::sample_config());
    plant(path("a.h5"), 7 * 64 + 3, value);
    return test::message_of<CheckpointError>(
        [&] { convert_checkpoint(options(path("a.h5"), path("b.h5"), to)); });
  };
  EXPECT_TRUE(has(refusal(std::numeric_limits<float>::quiet_NaN(), NumberFormat::bf16),
                  "embedding/weight: a value that is not finite in row 7"));
  EXPECT_TRUE(has(refusal(3.4e38F, NumberFormat::bf16), "a value is too large for bf16 in row 7"));
  EXPECT_TRUE(has(refusal(1e30F, NumberFormat::q8_0), "a value is too large for q8_0 in row 7"));
  EXPECT_TRUE(has(refusal(-1e7F, NumberFormat::q4_1), "a value is too large for q4_1 in row 7"));
  EXPECT_EQ(refusal(1e5F, NumberFormat::q8_0), "no error");
}

}  // namespace
}  // namespace stagformer::internal
