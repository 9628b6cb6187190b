// Weights without a file: the same bytes whoever asks for which part of them.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "checkpoint/made_tensors.hpp"
#include "checkpoint/schema.hpp"
#include "kernels/packed_matrix.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

const std::string kConfig = R"({"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4,
  "vocab_size": 320, "max_position_embeddings": 32, "sections": {"count": 3, "layers_per_section": 2,
  "readout": "linear_combination", "weights": "WEIGHTS"}})";
const std::string kMatrix = "sections/1/layers/1/feed_forward/down/weight";

std::string config(const std::string& weights) {
  std::string text = kConfig;
  return text.replace(text.find("WEIGHTS"), 7, weights);
}

std::vector<std::byte> read(TensorReader& reader, const CheckpointIndex& index, const std::string& name) {
  std::vector<std::byte> out(static_cast<std::size_t>(index.datasets.at(name).bytes));
  reader.read(name, out);
  return out;
}

std::vector<float> values(const CheckpointIndex& index, const std::string& name) {
  RandomTensors reader(index, 2);
  const std::vector<std::byte> stored = read(reader, index, name);
  const DatasetInfo& info = index.datasets.at(name);
  std::vector<float> all(static_cast<std::size_t>(info.rows() * info.columns()));
  for (std::int64_t r = 0; r < info.rows(); ++r)
    dequantize_row(info.format, info.columns(), stored.data() + r * (info.bytes / info.rows()),
                   all.data() + r * info.columns());
  return all;
}

TEST(RandomIndex, HoldsWhatTheConfigurationAsksFor) {
  const CheckpointIndex index = random_index(config("separate"), NumberFormat::q8_0, 1);
  std::int64_t bytes = 0;
  for (const DatasetRequest& request : schema_of(index.config)) {
    const DatasetInfo& info = index.datasets.at(request.name);
    EXPECT_EQ(info.shape, request.shape) << request.name;
    EXPECT_EQ(info.format, request.f32_only ? NumberFormat::f32 : NumberFormat::q8_0) << request.name;
    bytes += info.bytes;
  }
  EXPECT_EQ(index.files.at(0).bytes, bytes);
  EXPECT_TRUE(index.warnings.empty());
}

TEST(RandomIndex, SurvivesTheWayToOtherRanks) {
  const CheckpointIndex index = random_index(config("shared"), NumberFormat::q4_0, 5);
  const CheckpointIndex other = CheckpointIndex::deserialize(index.serialize());
  EXPECT_EQ(other.digest(), index.digest());
  EXPECT_EQ(values(other, kMatrix), values(index, kMatrix));
}

TEST(RandomIndex, SharedBlocksAreOneObject) {
  const auto place = [](const CheckpointIndex& index, int section, const std::string& rest) {
    return index.datasets.at("sections/" + std::to_string(section) + "/layers/1/" + rest + "/weight").offset;
  };
  const CheckpointIndex shared = random_index(config("shared"), NumberFormat::f32, 1);
  EXPECT_EQ(place(shared, 2, "self_attention/q"), place(shared, 0, "self_attention/q"));
  EXPECT_NE(place(shared, 2, "cross_attention/q"), place(shared, 1, "cross_attention/q"));
  EXPECT_EQ(values(shared, "sections/2/layers/0/feed_forward/up/weight"),
            values(shared, "sections/0/layers/0/feed_forward/up/weight"));
  const CheckpointIndex separate = random_index(config("separate"), NumberFormat::f32, 1);
  EXPECT_NE(place(separate, 2, "self_attention/q"), place(separate, 0, "self_attention/q"));
  EXPECT_NE(values(separate, "sections/2/layers/0/feed_forward/up/weight"),
            values(separate, "sections/0/layers/0/feed_forward/up/weight"));
}

TEST(RandomIndex, RowsThatFitNoBlocksStayF32) {
  std::string text = config("separate");
  text.replace(text.find("96"), 2, "72");  // the rows of down
  const CheckpointIndex index = random_index(text, NumberFormat::q4_1, 1);
  EXPECT_EQ(index.datasets.at(kMatrix).format, NumberFormat::f32);
  EXPECT_EQ(index.datasets.at("embedding/weight").format, NumberFormat::q4_1);
  ASSERT_EQ(index.warnings.size(), 1U);
  EXPECT_NE(index.warnings[0].find("6 matrices"), std::string::npos) << index.warnings[0];
}

TEST(RandomIndex, RefusesAWrongConfiguration) {
  EXPECT_THROW(random_index("{}", NumberFormat::f32, 0), ConfigError);
}

TEST(RandomTensors, PartsAreThoseOfTheWhole) {
  const CheckpointIndex index = random_index(config("separate"), NumberFormat::q4_1, 2);
  RandomTensors reader(index, 2);
  const std::vector<std::byte> whole = read(reader, index, kMatrix);
  const std::size_t row = whole.size() / 64;
  std::vector<std::byte> part(3 * row);
  reader.read_rows(kMatrix, 17, 3, part);
  EXPECT_EQ(std::memcmp(part.data(), whole.data() + 17 * row, part.size()), 0);
}

TEST(RandomTensors, HaveUnitGainAndDependOnSeedAndNameAlone) {
  const CheckpointIndex index = random_index(config("separate"), NumberFormat::f32, 2);
  const std::vector<float> drawn = values(index, kMatrix);
  double sum = 0, squares = 0;
  for (const float v : drawn) {
    sum += v;
    squares += static_cast<double>(v) * v;
  }
  const auto n = static_cast<double>(drawn.size());
  EXPECT_NEAR(squares / n * 96, 1, 0.05);
  EXPECT_NEAR(sum / n, 0, 5 / std::sqrt(96 * n));
  EXPECT_NE(drawn, values(index, "sections/1/layers/0/feed_forward/down/weight"));
  EXPECT_NE(drawn, values(random_index(config("separate"), NumberFormat::f32, 3), kMatrix));
  const std::vector<float> rounded = values(random_index(config("separate"), NumberFormat::bf16, 2), kMatrix);
  for (std::size_t i = 0; i < drawn.size(); ++i) EXPECT_NEAR(rounded[i], drawn[i], std::abs(drawn[i]) / 256);
}

TEST(RandomTensors, VectorsAreNeutral) {
  const CheckpointIndex index = random_index(config("separate"), NumberFormat::bf16, 2);
  RandomTensors reader(index, 2);
  EXPECT_EQ(reader.read_vector("final_norm/weight"), std::vector<float>(64, 1.0F));
  EXPECT_EQ(reader.read_vector("readout/coefficients"), std::vector<float>(3, 1.0F / 3));
}

TEST(ConvertedTensors, AreTheStoredOnesRounded) {
  const CheckpointIndex stored = read_checkpoint_index(STAGFORMER_GOLDEN_DIR "/separate2.h5");
  const CheckpointIndex index = converted_index(stored, NumberFormat::q8_0);
  ConvertedTensors reader(stored, index, true, 2);
  TensorReader original(stored, true);
  reader.check_files();
  const DatasetInfo &from = stored.datasets.at(kMatrix), &to = index.datasets.at(kMatrix);
  ASSERT_EQ(to.format, NumberFormat::q8_0);
  const std::vector<std::byte> bytes = read(original, stored, kMatrix), made = read(reader, index, kMatrix);
  std::vector<float> row(static_cast<std::size_t>(from.columns()));
  std::vector<std::byte> expected(static_cast<std::size_t>(to.bytes));
  for (std::int64_t r = 0; r < from.rows(); ++r) {
    std::memcpy(row.data(), bytes.data() + r * from.bytes / from.rows(), row.size() * sizeof(float));
    quantize_row(to.format, to.columns(), row.data(), expected.data() + r * to.bytes / to.rows());
  }
  EXPECT_EQ(made, expected);
  EXPECT_EQ(reader.read_vector("final_norm/weight"), original.read_vector("final_norm/weight"));
  EXPECT_EQ(index.datasets.at("final_norm/weight").checksum,
            stored.datasets.at("final_norm/weight").checksum);
}

}  // namespace
}  // namespace stagformer::internal
