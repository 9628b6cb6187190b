// What the writer writes the reader finds: names, places, attributes, links, split files; the index as bytes;
// the digest.
#include "checkpoint/index.hpp"

#include <gtest/gtest.h>

#include "checkpoint/tensor_reader.hpp"
#include "unit/checkpoint/sample_checkpoint.hpp"

namespace stagformer::internal {
namespace {

using nlohmann::json;
using test::has;

class Index : public test::CheckpointTest {};

void expect_same(const CheckpointIndex& a, const CheckpointIndex& b) {
  EXPECT_EQ(a.serialize(), b.serialize());
  EXPECT_EQ(a.digest(), b.digest());
}

TEST_F(Index, HoldsWhatWasWritten) {
  test::SampleOptions options{NumberFormat::q4_1};
  options.writer.writer = "a test";
  options.writer.created = "2025-01-31T12:00:00Z";
  options.writer.source = "nothing at all \xc3\xa4";
  options.tokenizer = "sentencepiece";
  options.model = std::string("\0model\xff", 7);
  const json config = test::sample_config();
  test::write_sample(path("a.h5"), config, options);
  const CheckpointIndex index = read_checkpoint_index(path("a.h5"));
  EXPECT_EQ(index.format_version, 1);
  EXPECT_EQ(index.writer, "a test");
  EXPECT_EQ(index.created, "2025-01-31T12:00:00Z");
  EXPECT_EQ(index.source, options.writer.source);
  EXPECT_EQ(index.config_json, config.dump());
  EXPECT_EQ(index.config.vocab_size, 300);
  EXPECT_EQ(index.tokenizer_type, "sentencepiece");
  ASSERT_EQ(index.tokenizer_model.size(), 7u);
  EXPECT_EQ(index.tokenizer_model[6], std::byte{0xff});
  EXPECT_TRUE(index.warnings.empty());
  ASSERT_EQ(index.files.size(), 1u);
  EXPECT_EQ(index.files[0].bytes, static_cast<std::int64_t>(std::filesystem::file_size(path("a.h5"))));
  EXPECT_EQ(index.datasets.size(), schema_of(index.config).size());
  const DatasetInfo& down = index.datasets.at("sections/0/layers/1/feed_forward/down/weight");
  EXPECT_EQ(down.format, NumberFormat::q4_1);
  EXPECT_EQ(down.shape, (std::vector<std::int64_t>{64, 96}));
  EXPECT_EQ(down.bytes, 64 * 96 / 32 * 20);
  EXPECT_EQ(index.datasets.at("final_norm/weight").format, NumberFormat::f32);
}

TEST_F(Index, EveryFormatAndSplitGivesTheBytesBack) {
  for (const NumberFormat format :
       {NumberFormat::f32, NumberFormat::bf16, NumberFormat::q8_0, NumberFormat::q4_0, NumberFormat::q4_1})
    for (const bool split : {false, true}) {
      SCOPED_TRACE(std::string(name_of(format)) + (split ? " split" : ""));
      test::SampleOptions options{format};
      options.writer.split = split;
      test::write_sample(path("a.h5"), test::shared_config(), options);
      const CheckpointIndex index = read_checkpoint_index(path("a.h5"));
      TensorReader reader(index, true);
      for (const DatasetRequest& request : schema_of(index.config)) {
        const DatasetInfo& info = index.datasets.at(request.name);
        std::vector<std::byte> stored(static_cast<std::size_t>(info.bytes));
        reader.read(request.name, stored);
        DatasetRequest origin = request;
        for (const char* block : {"self_attention", "feed_forward"})
          if (origin.name.rfind("sections/1/", 0) == 0 && origin.name.find(block) != std::string::npos)
            origin.name.replace(0, 11, "sections/0/");
        EXPECT_EQ(stored, test::sample_stored(origin, info.format)) << request.name;
      }
      EXPECT_EQ(index.files.size(), split ? 3u : 1u);
    }
}

TEST_F(Index, SharedWeightsAreOneObject) {
  for (const bool split : {false, true}) {
    test::SampleOptions options;
    options.writer.split = split;
    test::write_sample(path("a.h5"), test::shared_config(), options);
    const CheckpointIndex index = read_checkpoint_index(path("a.h5"));
    for (const char* rest : {"/layers/1/self_attention/q/weight", "/layers/0/feed_forward/norm/weight"}) {
      const DatasetInfo& first = index.datasets.at(std::string("sections/0") + rest);
      const DatasetInfo& second = index.datasets.at(std::string("sections/1") + rest);
      EXPECT_EQ(first.file, second.file);
      EXPECT_EQ(first.offset, second.offset);
    }
    EXPECT_NE(index.datasets.at("sections/1/layers/0/cross_attention/q/weight").offset,
              index.datasets.at("sections/1/layers/1/cross_attention/q/weight").offset);
  }
}

TEST_F(Index, OneFileUnderTwoNamesIsOneFile) {
  test::SampleOptions options;
  options.writer.split = true;
  test::write_sample(path("a.h5"), test::shared_config(), options);
  std::filesystem::create_symlink(path("a.section-0.h5"), path("other.h5"));
  test::edit_file(path("a.section-1.h5"), [](hid_t file) {
    H5Ldelete(file, "layers/0/feed_forward", H5P_DEFAULT);
    H5Lcreate_external("other.h5", "/layers/0/feed_forward", file, "layers/0/feed_forward", H5P_DEFAULT,
                       H5P_DEFAULT);
  });
  const CheckpointIndex index = read_checkpoint_index(path("a.h5"));
  EXPECT_EQ(index.files.size(), 3u);
  const DatasetInfo& first = index.datasets.at("sections/0/layers/0/feed_forward/up/weight");
  const DatasetInfo& second = index.datasets.at("sections/1/layers/0/feed_forward/up/weight");
  EXPECT_EQ(first.file, second.file);
  EXPECT_EQ(first.offset, second.offset);
}

TEST_F(Index, SplitFilesAreNamedAfterTheRootAndFoundBesideIt) {
  test::SampleOptions options;
  options.writer.split = true;
  test::write_sample(path("model.v2.h5"), test::sample_config(), options);
  EXPECT_EQ(files(),
            (std::vector<std::string>{"model.v2.h5", "model.v2.section-0.h5", "model.v2.section-1.h5"}));
  std::filesystem::create_directory(path("moved"));
  for (const std::string& name : files())
    if (name != "moved") std::filesystem::rename(path(name), path("moved/" + name));
  const CheckpointIndex index = read_checkpoint_index(path("moved/model.v2.h5"));
  ASSERT_EQ(index.files.size(), 3u);
  EXPECT_EQ(index.files[1].name, "model.v2.section-0.h5");
  EXPECT_EQ(path_of_file(index, 2), path("moved/model.v2.section-1.h5"));
  const std::string message =
      test::message_of<CheckpointError>([&] { read_checkpoint_index(path("moved/model.v2.section-1.h5")); });
  EXPECT_TRUE(has(message, "holds one section of a checkpoint in several files"));
}

TEST_F(Index, RelativePathsWork) {
  test::SampleOptions options;
  options.writer.split = true;
  test::write_sample(path("a.h5"), test::sample_config(), options);
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(path(""));
  const CheckpointIndex index = read_checkpoint_index("a.h5");
  TensorReader reader(index, true);
  EXPECT_NO_THROW(reader.check_files());
  std::filesystem::current_path(before);
  EXPECT_EQ(index.files[2].name, "a.section-1.h5");
}

TEST_F(Index, DatasetsAreAligned) {
  for (const std::int64_t alignment : {std::int64_t{64}, std::int64_t{4096}, std::int64_t{1} << 20}) {
    test::SampleOptions options;
    options.writer.alignment = alignment;
    test::write_sample(path("a.h5"), test::sample_config(), options);
    const CheckpointIndex index = read_checkpoint_index(path("a.h5"));
    for (const auto& [name, info] : index.datasets)
      if (alignment <= 4096 || info.bytes >= 64 << 10) {
        EXPECT_EQ(info.offset % alignment, 0) << name;
      }
    EXPECT_GE(index.datasets.at("embedding/weight").bytes, 64 << 10);
  }
}

TEST_F(Index, OptionalDatasetsMayBeAbsent) {
  json config = test::sample_config();
  config["sections"]["cross_attention"]["window"] = 1;
  test::write_sample(path("a.h5"), config);
  const std::string block = "sections/1/layers/0/cross_attention/";
  EXPECT_EQ(read_checkpoint_index(path("a.h5")).datasets.count(block + "q/weight"), 1u);
  test::edit_file(path("a.h5"), [&](hid_t file) {
    for (const char* part : {"q", "k"}) H5Ldelete(file, (block + part).c_str(), H5P_DEFAULT);
  });
  EXPECT_EQ(read_checkpoint_index(path("a.h5")).datasets.count(block + "q/weight"), 0u);
}

TEST_F(Index, DigestIsOfTheContent) {
  test::SampleOptions split;
  split.writer.split = true;
  split.writer.alignment = 64;
  test::write_sample(path("a.h5"), test::sample_config());
  test::write_sample(path("b.h5"), test::sample_config(), split);
  const std::uint64_t digest = read_checkpoint_index(path("a.h5")).digest();
  EXPECT_EQ(read_checkpoint_index(path("b.h5")).digest(), digest);

  json config = test::sample_config();
  config["rope_theta"] = 10001;
  test::write_sample(path("c.h5"), config);
  EXPECT_NE(read_checkpoint_index(path("c.h5")).digest(), digest);
  test::write_sample(path("d.h5"), test::sample_config(), {.format = NumberFormat::bf16});
  EXPECT_NE(read_checkpoint_index(path("d.h5")).digest(), digest);

  CheckpointIndex changed = read_checkpoint_index(path("a.h5"));
  changed.tokenizer_model.push_back(std::byte{1});
  EXPECT_NE(changed.digest(), digest);
  changed = read_checkpoint_index(path("a.h5"));
  *changed.datasets.at("final_norm/weight").checksum ^= 1;
  EXPECT_NE(changed.digest(), digest);
}

TEST_F(Index, DigestSeesWeightsWithoutChecksum) {
  test::write_sample(path("a.h5"), test::sample_config());
  test::edit_file(path("a.h5"),
                  [](hid_t file) { H5Adelete_by_name(file, "final_norm/weight", "xxh3_64", H5P_DEFAULT); });
  const CheckpointIndex before = read_checkpoint_index(path("a.h5"));
  ASSERT_EQ(before.warnings.size(), 1u);
  EXPECT_TRUE(has(before.warnings[0], "1 datasets carry no checksum"));
  test::flip_bit(path("a.h5"), before.datasets.at("final_norm/weight").offset + 5);
  EXPECT_NE(read_checkpoint_index(path("a.h5")).digest(), before.digest());
}

TEST_F(Index, MissingChecksumsGiveOneWarning) {
  test::write_sample(path("a.h5"), test::sample_config());
  const CheckpointIndex index = read_checkpoint_index(path("a.h5"));
  test::edit_file(path("a.h5"), [&](hid_t file) {
    for (const auto& [name, info] : index.datasets)
      H5Adelete_by_name(file, name.c_str(), "xxh3_64", H5P_DEFAULT);
  });
  const CheckpointIndex without = read_checkpoint_index(path("a.h5"));
  ASSERT_EQ(without.warnings.size(), 1u);
  EXPECT_TRUE(
      has(without.warnings[0], std::to_string(index.datasets.size()) + " datasets carry no checksum"));
}

TEST_F(Index, BytesAndBackIsTheSame) {
  test::SampleOptions options{NumberFormat::q8_0};
  options.writer.split = true;
  test::write_sample(path("a.h5"), test::shared_config(), options);
  CheckpointIndex index = read_checkpoint_index(path("a.h5"));
  index.warnings = {"one", "two"};
  const CheckpointIndex back = CheckpointIndex::deserialize(index.serialize());
  expect_same(index, back);
  EXPECT_EQ(back.path, index.path);
  EXPECT_EQ(back.warnings, index.warnings);
  EXPECT_EQ(back.config.to_json(), index.config.to_json());
  EXPECT_EQ(back.files[2].head_hash, index.files[2].head_hash);
  const DatasetInfo &a = index.datasets.at("embedding/weight"), &b = back.datasets.at("embedding/weight");
  EXPECT_EQ(a.checksum, b.checksum);
  EXPECT_EQ(a.offset, b.offset);
}

TEST_F(Index, DamagedBytesAreRefusedNotTrusted) {
  test::write_sample(path("a.h5"), test::sample_config());
  const std::vector<std::byte> good = read_checkpoint_index(path("a.h5")).serialize();
  for (std::size_t size = 0; size < good.size(); size += size < 600 ? 1 : 97)
    EXPECT_THROW(CheckpointIndex::deserialize(std::span(good).first(size)), Error) << size;
  std::vector<std::byte> longer = good;
  longer.push_back(std::byte{0});
  EXPECT_THROW(CheckpointIndex::deserialize(longer), CheckpointError);
  for (std::size_t at = 0; at < good.size(); at += 7) {
    std::vector<std::byte> flipped = good;
    flipped[at] ^= std::byte{0x80};
    try {
      CheckpointIndex::deserialize(
          flipped);  // text may change unnoticed; nothing may crash or run out of memory
    } catch (const Error&) {
    }
  }
}

}  // namespace
}  // namespace stagformer::internal
