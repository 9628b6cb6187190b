// The writer leaves a whole checkpoint or nothing: incomplete ones, full disks, unwritable places.
#include "checkpoint/writer.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>

#include "unit/checkpoint/sample_checkpoint.hpp"

namespace stagformer::internal {
namespace {

using test::has;

class Writer : public test::CheckpointTest {};

/// No file may grow beyond this while the object lives; the same failures as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(Writer, PiecesGiveTheSameFileAsTheWhole) {
  const std::string config = test::sample_config().dump();
  const auto schema = schema_of(ModelConfig::from_json(config));
  CheckpointWriter writer(path("a.h5"), config, {});
  for (const DatasetRequest& request : schema) {
    const std::vector<std::byte> stored = test::sample_stored(request, NumberFormat::f32);
    writer.begin(request.name, NumberFormat::f32);
    for (std::size_t at = 0; at < stored.size(); at += 100)
      writer.append(std::span(stored).subspan(at, std::min<std::size_t>(100, stored.size() - at)));
    writer.end();
  }
  writer.finish();
  test::write_sample(path("b.h5"), test::sample_config());
  CheckpointIndex a = read_checkpoint_index(path("a.h5")), b = read_checkpoint_index(path("b.h5"));
  EXPECT_EQ(b.tokenizer_type, "byte");
  b.tokenizer_type = "";
  EXPECT_EQ(a.digest(), b.digest());
}

TEST_F(Writer, LeavesNothingWithoutFinish) {
  for (const bool split : {false, true}) {
    WriterOptions options;
    options.split = split;
    {
      const std::string config = test::sample_config().dump();
      CheckpointWriter writer(path("a.h5"), config, options);
      for (const DatasetRequest& request : schema_of(ModelConfig::from_json(config)))
        if (request.name != "final_norm/weight")
          writer.write(request.name, NumberFormat::f32, test::sample_stored(request, NumberFormat::f32));
      EXPECT_FALSE(files().empty());
      EXPECT_TRUE(
          has(test::message_of<CheckpointError>([&] { writer.finish(); }), "final_norm/weight: is missing"));
    }
    EXPECT_TRUE(files().empty());
  }
}

TEST_F(Writer, KeepsTheOldFileUntilTheNewOneIsWhole) {
  test::write_sample(path("a.h5"), test::sample_config());
  const auto before = read_checkpoint_index(path("a.h5")).digest();
  {
    CheckpointWriter writer(path("a.h5"), test::shared_config().dump(), {});
    EXPECT_EQ(read_checkpoint_index(path("a.h5")).digest(), before);
  }
  EXPECT_EQ(read_checkpoint_index(path("a.h5")).digest(), before);
  test::write_sample(path("a.h5"), test::shared_config());
  EXPECT_NE(read_checkpoint_index(path("a.h5")).digest(), before);
  EXPECT_EQ(files(), std::vector<std::string>{"a.h5"});
}

TEST_F(Writer, FullDiskIsAnInputErrorAndLeavesNothing) {
  for (const bool split : {false, true})
    // Met while bytes of datasets are written, and while HDF5 writes its own.
    for (const rlim_t bytes : {rlim_t{0}, rlim_t{3000}, rlim_t{20000}, rlim_t{300000}}) {
      SCOPED_TRACE(std::to_string(bytes) + (split ? " split" : ""));
      test::SampleOptions options;
      options.writer.split = split;
      std::string message;
      {
        const FileSizeLimit limit(bytes);
        message = test::message_of<InputError>(
            [&] { test::write_sample(path("a.h5"), test::sample_config(), options); });
      }
      EXPECT_TRUE(has(message, path("a.")));
      EXPECT_TRUE(has(message, "File too large"));
      EXPECT_TRUE(files().empty()) << files().front();
      test::write_sample(path("a.h5"), test::sample_config(), options);  // the library is still fit for use
      EXPECT_NO_THROW(read_checkpoint_index(path("a.h5")));
      for (const std::string& name : files()) std::filesystem::remove(path(name));
    }
}

TEST_F(Writer, UnwritablePlacesAreNamed) {
  const std::string config = test::sample_config().dump();
  const auto refusal = [&](const std::string& where) {
    return test::message_of<InputError>([&] { CheckpointWriter(where, config, {}); });
  };
  EXPECT_TRUE(has(refusal(path("none/a.h5")), "none/a.h5: cannot be created: No such file or directory"));
  std::filesystem::create_directory(path("folder.h5"));
  EXPECT_TRUE(has(refusal(path("folder.h5")), "is a directory"));
}

TEST_F(Writer, RefusesWhatTheConfigurationDoesNotAskFor) {
  CheckpointWriter writer(path("a.h5"), test::sample_config().dump(), {});
  const std::vector<std::byte> bytes(64 * 4);
  EXPECT_THROW(writer.write("head/weight", NumberFormat::f32, bytes), Error);
  EXPECT_THROW(writer.write("final_norm/weight", NumberFormat::bf16, bytes), Error);
  EXPECT_THROW(writer.write("final_norm/weight", NumberFormat::f32, std::span(bytes).first(252)), Error);
  EXPECT_THROW(CheckpointWriter(path("b.h5"), "{}", {}), ConfigError);
}

TEST_F(Writer, FilesAreNamedAfterTheRoot) {
  EXPECT_EQ(checkpoint_files("d/m.h5", 2, true),
            (std::vector<std::string>{"d/m.h5", "d/m.section-0.h5", "d/m.section-1.h5"}));
  EXPECT_EQ(checkpoint_files("m.1", 1, true), (std::vector<std::string>{"m.1", "m.1.section-0.h5"}));
  EXPECT_EQ(checkpoint_files("m.h5", 3, false), std::vector<std::string>{"m.h5"});
}

}  // namespace
}  // namespace stagformer::internal
