// What a rank holds after loading is the checkpoint's, whatever the slices, threads and ranks; damage is
// found.
#include "pipeline/weight_loader.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "checkpoint/dataset_stream.hpp"
#include "pipeline/grid.hpp"
#include "pipeline/rank_model.hpp"
#include "unit/checkpoint/sample_checkpoint.hpp"

namespace stagformer::internal {
namespace {

using test::has;

const std::string kTable = "embedding/weight", kGate = "sections/1/layers/0/feed_forward/gate/weight";
constexpr std::int64_t kVocabulary = 5030, kWidth = 64, kInner = 4100;  // several slices, ragged panels
constexpr NumberFormat kFormats[] = {NumberFormat::f32, NumberFormat::bf16, NumberFormat::q8_0,
                                     NumberFormat::q4_0, NumberFormat::q4_1};

nlohmann::json large_config(bool tied) {
  nlohmann::json config = test::sample_config();
  config["vocab_size"] = kVocabulary;
  config["intermediate_size"] = kInner / 32 * 32;
  config["tie_word_embeddings"] = tied;
  config["sections"]["layers_per_section"] = 1;
  return config;
}

class Loading : public test::CheckpointTest {
 protected:
  void write(NumberFormat format, bool tied, const nlohmann::json& changes = nlohmann::json::object()) {
    nlohmann::json config = large_config(tied);
    config.merge_patch(changes);
    test::SampleOptions options;
    options.format = format;
    test::write_sample(path("a.h5"), config, options);
    index_ = read_checkpoint_index(path("a.h5"));
  }
  RankPart part(int ranks, int rank, HeadMode head = HeadMode::sliced) const {
    return rank_part(index_.config, make_grid(ranks, 2), rank, head);
  }
  RankWeights load(const RankPart& of, int threads, bool verify = true) {
    TensorReader reader(index_, verify);
    RankWeights weights = load_weights(index_, of, reader, ThreadTeam(threads, 0), {});
    bytes_read_ = reader.bytes_read();
    return weights;
  }
  std::string refusal(int threads, bool verify = true) {
    return test::message_of<CheckpointError>([&] { load(part(1, 0), threads, verify); });
  }
  std::vector<std::byte> stored(const std::string& name) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(index_.datasets.at(name).bytes));
    TensorReader(index_, true).read(name, bytes);
    return bytes;
  }
  /// Compares panels with those of the dataset's rows [range.begin, range.end) packed in one go.
  void expect_rows(const PackedMatrix& matrix, const std::string& name, const RowRange& range) {
    const DatasetInfo& data = index_.datasets.at(name);
    const std::vector<std::byte> bytes = stored(name);
    const auto packed = static_cast<std::size_t>(packed_bytes(data.format, range.count(), data.columns()));
    AlignedBuffer<std::byte> expected(packed);
    pack_panels(data.format, range.count(), data.columns(),
                bytes.data() + range.begin * (data.bytes / data.rows()), 0,
                (range.count() + kPanelRows - 1) / kPanelRows, expected.data());
    ASSERT_EQ(matrix.rows, range.count()) << name;
    ASSERT_EQ(matrix.format, data.format) << name;
    EXPECT_EQ(std::memcmp(matrix.data, expected.data(), packed), 0) << name;
  }
  void expect_look_up(const EmbeddingWeights& embedding) {
    const DatasetInfo& data = index_.datasets.at(kTable);
    const std::vector<std::byte> bytes = stored(kTable);
    std::vector<float> expected(kWidth), found(kWidth);
    for (const std::int64_t token : {0L, 1L, 31L, 32L, 2047L, 2048L, kVocabulary - 1}) {
      dequantize_row(data.format, kWidth, bytes.data() + token * (data.bytes / data.rows()), expected.data());
      embedding.look_up(token, found.data());
      EXPECT_EQ(found, expected) << token;
    }
  }
  void overwrite(const std::string& name, std::int64_t at, const void* bytes, std::int64_t count) {
    std::fstream file(path("a.h5"), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(index_.datasets.at(name).offset + at);
    file.write(static_cast<const char*>(bytes), count);
  }

  CheckpointIndex index_;
  std::uint64_t bytes_read_ = 0;
};

TEST_F(Loading, PanelsAreThoseOfTheWholeMatrix) {
  for (const NumberFormat format : kFormats) {
    write(format, true);
    ASSERT_EQ(index_.datasets.at(kGate).rows() % (2 * kPanelRows), 0);
    for (const int threads : {1, 2, 5}) {
      SCOPED_TRACE(std::string(name_of(format)) + " " + std::to_string(threads));
      const RankWeights weights = load(part(1, 0), threads);
      const LayerWeights& layer = weights.sections.at(1).layers.at(0);
      expect_rows(layer.feed_forward.gate, kGate, {0, kInner / 32 * 32});
      expect_rows(layer.feed_forward.down, "sections/1/layers/0/feed_forward/down/weight", {0, kWidth});
      expect_rows(layer.cross_attention->v, "sections/1/layers/0/cross_attention/v/weight", {0, 32});
      expect_rows(weights.head, kTable, {0, kVocabulary});
      expect_look_up(weights.embedding);
    }
  }
}

// Slices of the head begin anywhere in the table's own slices.
TEST_F(Loading, EveryRankHoldsItsRowsOfTheHead) {
  for (const bool tied : {true, false})
    for (const NumberFormat format : {NumberFormat::f32, NumberFormat::q4_0}) {
      write(format, tied);
      std::int64_t covered = 0;
      for (const int rank : {0, 1}) {
        const RankPart of = part(2, rank);
        const RankWeights weights = load(of, 2);
        const RowRange own = head_rows(index_.config, of);
        EXPECT_EQ(own.begin, covered);
        covered = own.end;
        expect_rows(weights.head, tied ? kTable : "head/weight", own);
        expect_look_up(weights.embedding);
      }
      EXPECT_EQ(covered, kVocabulary);
    }
}

TEST_F(Loading, TheLastRankMayHoldTheWholeHead) {
  write(NumberFormat::bf16, true);
  EXPECT_EQ(load(part(2, 0, HeadMode::last), 1).head.rows, 0);
  const RankWeights weights = load(part(2, 1, HeadMode::last), 1);
  expect_rows(weights.head, kTable, {0, kVocabulary});
  expect_look_up(weights.embedding);
}

// A tied table that is packed whole is held once; the plan says so before.
TEST_F(Loading, NothingIsHeldTwice) {
  write(NumberFormat::f32, true);
  const std::int64_t table = index_.datasets.at(kTable).bytes;
  EngineOptions options;
  options.threads = 3;
  for (const int ranks : {1, 2}) {
    const RankPart of = part(ranks, ranks - 1);
    const RankWeights weights = load(of, 2);
    const MemoryPlan plan = RankModel::plan(index_, of, options);
    EXPECT_EQ(static_cast<std::int64_t>(weights.embedding.rows.bytes()), ranks == 1 ? 0 : table);
    EXPECT_EQ(plan.embedding, ranks == 1 ? 0 : table);
    EXPECT_EQ(plan.weights, static_cast<std::int64_t>(weights.arena.bytes()));
    EXPECT_GT(plan.staging, 0);
    EXPECT_LE(plan.staging, 3 * kSliceBytes);
  }
}

// Behind a chained link a rank needs no embedding, and of the head its rows alone, unless it is the last.
TEST_F(Loading, ARankReadsItsOwnBytes) {
  write(NumberFormat::f32, true, {{"sections", {{"count", 3}, {"links", "chained"}}}});
  const std::int64_t row = kWidth * 4;
  for (const int rank : {0, 1, 2}) {
    const RankPart of = rank_part(index_.config, make_grid(3, 3), rank, HeadMode::sliced);
    std::int64_t expected = kWidth * 4;  // the final norm
    for (const auto& [name, info] : index_.datasets)
      if (name.rfind("sections/" + std::to_string(rank), 0) == 0) expected += info.bytes;
    expected += row * (rank == 1 ? head_rows(index_.config, of).count() : kVocabulary);
    load(of, 2);
    EXPECT_EQ(static_cast<std::int64_t>(bytes_read_), expected) << rank;
  }
}

TEST_F(Loading, DamageInAnySliceIsAWrongChecksum) {
  write(NumberFormat::f32, true);
  const std::int64_t last = index_.datasets.at(kTable).bytes - 1;
  for (const std::int64_t at : {std::int64_t{70000}, kSliceBytes - 1, kSliceBytes, last})
    for (const int threads : {1, 3}) {
      const std::int64_t offset = index_.datasets.at(kTable).offset + at;
      test::flip_bit(path("a.h5"), offset);
      EXPECT_TRUE(has(refusal(threads), path("a.h5") + ": " + kTable + ": wrong checksum")) << at;
      EXPECT_EQ(refusal(threads, false), "no error");
      test::flip_bit(path("a.h5"), offset);
      EXPECT_EQ(refusal(threads), "no error");
    }
}

// Damage with a checksum is damage; a NaN that was written is told by its row.
TEST_F(Loading, ValuesThatAreNotFiniteAreToldByTheirRow) {
  write(NumberFormat::f32, true);
  const float bad = -std::numeric_limits<float>::infinity();
  for (const std::int64_t row : {kVocabulary - 1, std::int64_t{2048}, std::int64_t{2047}}) {
    overwrite(kTable, (row * kWidth + 63) * 4, &bad, 4);
    for (const int threads : {1, 3}) {
      const std::string expected = kTable + ": a weight in row " + std::to_string(row) + " is not finite";
      EXPECT_TRUE(has(refusal(threads, false), expected));
      EXPECT_TRUE(has(refusal(threads), kTable + ": wrong checksum"));
    }
  }
}

// Rows of the head that another rank packs are checked by the last one.
TEST_F(Loading, TheLastRankChecksTheWholeHead) {
  write(NumberFormat::f32, false);
  const float bad = std::numeric_limits<float>::quiet_NaN();
  overwrite("head/weight", (100 * kWidth) * 4, &bad, 4);
  const auto message = [&](int rank, bool verify) {
    return test::message_of<CheckpointError>([&] { load(part(2, rank), 2, verify); });
  };
  EXPECT_TRUE(has(message(1, true), "head/weight: wrong checksum"));
  EXPECT_TRUE(has(message(1, false), "head/weight: a weight in row 100 is not finite"));
  EXPECT_TRUE(has(message(0, true), "head/weight: a weight in row 100 is not finite"));
}

TEST_F(Loading, AFileCutWhileItIsLoadedIsTruncated) {
  write(NumberFormat::f32, true);
  for (const int threads : {1, 3}) {
    TensorReader reader(index_, true);
    reader.check_files();
    const auto half = static_cast<std::uintmax_t>(index_.datasets.at(kGate).offset + 100000);
    const auto whole = std::filesystem::file_size(path("a.h5"));
    std::filesystem::resize_file(path("a.h5"), half);
    const std::string message = test::message_of<CheckpointError>(
        [&] { load_weights(index_, part(1, 0), reader, ThreadTeam(threads, 0), {}); });
    EXPECT_TRUE(has(message, ": truncated")) << message;
    std::filesystem::resize_file(path("a.h5"), whole);
  }
}

TEST_F(Loading, ProgressEndsAtTheTotal) {
  write(NumberFormat::bf16, true);
  TensorReader reader(index_, true);
  std::int64_t last = 0, calls = 0;
  load_weights(index_, part(1, 0), reader, ThreadTeam(3, 0), [&](std::int64_t done, std::int64_t total) {
    EXPECT_GT(done, last);
    EXPECT_LE(done, total);
    last = done;
    calls += done == total;
  });
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace stagformer::internal
