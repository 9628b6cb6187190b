// Files that are not checkpoints, damaged ones, and datasets of the wrong kind: each is refused by one
// message that says what is wrong where.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "checkpoint/index.hpp"
#include "unit/checkpoint/sample_checkpoint.hpp"

namespace stagformer::internal {
namespace {

using nlohmann::json;
using test::has;
using test::replace_dataset;

class Damaged : public test::CheckpointTest {
 protected:
  std::string refusal(const std::string& name = "a.h5") {
    return test::message_of<CheckpointError>([&] { read_checkpoint_index(path(name)); });
  }
  /// A good checkpoint, edited, and what is said about it.
  std::string refusal_after(const std::function<void(hid_t)>& edit, NumberFormat format = NumberFormat::f32) {
    test::write_sample(path("a.h5"), test::sample_config(), {format});
    test::edit_file(path("a.h5"), edit);
    return refusal();
  }
};

const auto kPlain = [](hid_t) {};
constexpr const char* kQuery = "sections/1/layers/0/self_attention/q/weight";

TEST_F(Damaged, WhatIsNoFileOrNoCheckpoint) {
  EXPECT_TRUE(has(refusal("missing.h5"), "missing.h5: cannot be opened: No such file or directory"));
  std::filesystem::create_directory(path("folder"));
  EXPECT_TRUE(has(refusal("folder"), "is a directory"));
  ASSERT_EQ(mkfifo(path("pipe").c_str(), 0600), 0);
  EXPECT_TRUE(has(refusal("pipe"), "is not a regular file"));
  std::ofstream(path("empty.h5"));
  EXPECT_TRUE(has(refusal("empty.h5"), "is empty"));
  std::ofstream(path("text.h5")) << std::string(5000, 'x');
  EXPECT_TRUE(has(refusal("text.h5"), "is not an HDF5 file"));
  if (geteuid() != 0) {
    std::filesystem::permissions(path("text.h5"), std::filesystem::perms::none);
    EXPECT_TRUE(has(refusal("text.h5"), "Permission denied"));
  }
  {
    const Hdf5Session session;
    Handle(H5Fcreate(path("foreign.h5").c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
  }
  EXPECT_TRUE(has(refusal("foreign.h5"), "is not a stagformer checkpoint (attribute 'format' is missing)"));
}

TEST_F(Damaged, CutFilesAreCalledTruncated) {
  test::write_sample(path("good.h5"), test::sample_config());
  const auto size = static_cast<std::int64_t>(std::filesystem::file_size(path("good.h5")));
  for (const std::int64_t cut :
       {std::int64_t{9}, std::int64_t{40}, std::int64_t{100}, std::int64_t{5000}, size / 2, size - 1}) {
    std::filesystem::copy_file(path("good.h5"), path("a.h5"),
                               std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(path("a.h5"), static_cast<std::uintmax_t>(cut));
    EXPECT_TRUE(has(refusal(), "truncated")) << cut;
  }
}

TEST_F(Damaged, RootAttributesAreChecked) {
  EXPECT_TRUE(has(refusal_after([](hid_t f) { H5Adelete(f, "format"); }), "attribute 'format' is missing"));
  EXPECT_TRUE(has(refusal_after([](hid_t f) { test::set_text(f, "/", "format", "other"); }),
                  "expected 'stagformer', found 'other'"));
  EXPECT_TRUE(has(refusal_after([](hid_t f) { test::set_integer(f, "/", "format_version", 2); }),
                  "format version 2 is newer than this program reads (1)"));
  EXPECT_TRUE(has(refusal_after([](hid_t f) { test::set_integer(f, "/", "format_version", 0); }),
                  "format version 0 does not exist"));
  EXPECT_TRUE(
      has(refusal_after([](hid_t f) { H5Adelete(f, "format_version"); }), "'format_version' is missing"));
  EXPECT_TRUE(has(refusal_after([](hid_t f) { test::set_text(f, "/", "format_version", "1"); }),
                  "'format_version': has the wrong type (expected integers, found 1 of string)"));
  EXPECT_TRUE(has(refusal_after([](hid_t f) { H5Adelete(f, "config"); }), "attribute 'config' is missing"));
  EXPECT_TRUE(
      has(refusal_after([](hid_t f) { test::set_integer(f, "/", "config", 1); }), "expected one string"));
}

TEST_F(Damaged, ConfigurationErrorsNameFileAndKey) {
  test::write_sample(path("a.h5"), test::sample_config());
  json config = test::sample_config();
  config["sections"]["widnow"] = 3;
  test::edit_file(path("a.h5"), [&](hid_t f) { test::set_text(f, "/", "config", config.dump()); });
  const std::string message = test::message_of<ConfigError>([&] { read_checkpoint_index(path("a.h5")); });
  EXPECT_TRUE(has(message, path("a.h5")));
  EXPECT_TRUE(has(message, "unknown key 'sections.widnow'"));
}

TEST_F(Damaged, FixedStringsOfAnyPaddingAreRead) {
  for (const H5T_str_t padding : {H5T_STR_NULLTERM, H5T_STR_NULLPAD, H5T_STR_SPACEPAD}) {
    const std::string message = refusal_after([&](hid_t f) {
      H5Adelete(f, "format");
      const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
      H5Tset_size(type.get(), 16);
      H5Tset_strpad(type.get(), padding);
      const hsize_t one = 1;
      const Handle space(H5Screate_simple(1, &one, nullptr), H5Sclose);
      const Handle attribute(H5Acreate2(f, "format", type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT),
                             H5Aclose);
      std::string text = "stagformer";
      text.resize(16, padding == H5T_STR_SPACEPAD ? ' ' : '\0');
      H5Awrite(attribute.get(), type.get(), text.data());
    });
    EXPECT_EQ(message, "no error");
  }
}

TEST_F(Damaged, MissingObjectsAreNamedInFull) {
  EXPECT_TRUE(has(refusal_after([](hid_t f) { H5Ldelete(f, kQuery, H5P_DEFAULT); }),
                  path("a.h5") + ": " + kQuery + ": is missing"));
  EXPECT_TRUE(has(refusal_after([](hid_t f) { H5Ldelete(f, "sections/1/memory_norm", H5P_DEFAULT); }),
                  "sections/1/memory_norm/weight: is missing (there is no 'sections/1/memory_norm')"));
  EXPECT_TRUE(has(refusal_after([](hid_t f) { H5Ldelete(f, "embedding", H5P_DEFAULT); }),
                  "embedding/weight: is missing"));
}

TEST_F(Damaged, StorageThatCannotBeReadDirectlyIsRefused) {
  EXPECT_TRUE(has(
      refusal_after([](hid_t f) {
        replace_dataset(f, kQuery, H5T_IEEE_F32LE, {64, 64}, [](hid_t p) {
          const hsize_t chunk[] = {8, 64};
          H5Pset_chunk(p, 2, chunk);
        });
      }),
      std::string(kQuery) + ": its storage cannot be read directly (expected contiguous, found chunked)"));
  EXPECT_TRUE(has(refusal_after([](hid_t f) {
                    replace_dataset(f, kQuery, H5T_IEEE_F32LE, {64, 64}, [](hid_t p) {
                      const hsize_t chunk[] = {8, 64};
                      H5Pset_chunk(p, 2, chunk);
                      H5Pset_shuffle(p);
                    });
                  }),
                  "found chunked and filtered"));
  EXPECT_TRUE(
      has(refusal_after([](hid_t f) {
            replace_dataset(f, "final_norm/weight", H5T_IEEE_F32LE, {64},
                            [](hid_t p) { H5Pset_layout(p, H5D_COMPACT); });
          }),
          "final_norm/weight: its storage cannot be read directly (expected contiguous, found compact)"));
  EXPECT_TRUE(has(refusal_after([](hid_t f) {
                    replace_dataset(f, kQuery, H5T_IEEE_F32LE, {64, 64},
                                    [](hid_t p) { H5Pset_alloc_time(p, H5D_ALLOC_TIME_LATE); });
                  }),
                  "has no storage"));
  EXPECT_TRUE(has(refusal_after([](hid_t f) {
                    replace_dataset(f, kQuery, H5T_IEEE_F32LE, {64, 64}, [](hid_t p) {
                      H5Pset_alloc_time(p, H5D_ALLOC_TIME_DEFAULT);
                      H5Pset_external(p, "raw.bin", 0, 64 * 64 * 4);
                    });
                  }),
                  "found in external raw files"));
}

TEST_F(Damaged, WrongTypesAreRefusedByName) {
  const std::vector<std::pair<hid_t, std::string>> types = {
      {H5T_IEEE_F64LE, "float64"}, {H5T_IEEE_F32BE, "big-endian float32"},
      {H5T_STD_I32LE, "int32"},    {H5T_STD_U16LE, "uint16"},
      {H5T_STD_U8LE, "uint8"},     {H5T_C_S1, "string"}};
  for (const auto& [type, name] : types) {
    const std::string message = refusal_after([t = type](hid_t f) {
      replace_dataset(f, kQuery, t, {64, 64}, kPlain);
    });
    EXPECT_TRUE(has(message, std::string(kQuery) +
                                 ": has the wrong type for number_format f32 (expected little-endian "
                                 "float32, found " +
                                 name + ")"));
  }
  EXPECT_TRUE(has(refusal_after([](hid_t f) {
                    replace_dataset(f, kQuery, H5T_STD_U16BE, {64, 64}, kPlain);
                    test::set_text(f, kQuery, "number_format", "bf16");
                  }),
                  "expected little-endian uint16, found big-endian uint16"));
  EXPECT_TRUE(has(refusal_after([](hid_t f) {
                    replace_dataset(f, kQuery, H5T_STD_I16LE, {64, 64}, kPlain);
                    test::set_text(f, kQuery, "number_format", "bf16");
                  }),
                  "expected little-endian uint16, found int16"));
  EXPECT_TRUE(has(refusal_after([](hid_t f) { test::set_text(f, kQuery, "number_format", "q8_0"); }),
                  "has the wrong type for number_format q8_0 (expected little-endian uint8, found float32)"));
  EXPECT_TRUE(has(refusal_after([](hid_t f) { test::set_text(f, kQuery, "number_format", "f16"); }),
                  std::string(kQuery) + ": unknown number format 'f16'"));
  EXPECT_TRUE(
      has(refusal_after([](hid_t f) { test::set_text(f, "final_norm/weight", "number_format", "bf16"); }),
          "final_norm/weight: norms, biases and coefficients are stored as f32"));
  EXPECT_TRUE(
      has(refusal_after([](hid_t f) { test::set_integer(f, kQuery, "xxh3_64", 5); }, NumberFormat::f32),
          "attribute 'xxh3_64': has the wrong type (expected one uint64, found 1 of int64)"));
}

TEST_F(Damaged, WrongShapesAreRefusedByName) {
  EXPECT_TRUE(has(refusal_after([](hid_t f) {
                    replace_dataset(f, kQuery, H5T_IEEE_F32LE, {64, 63}, kPlain);
                  }),
                  std::string(kQuery) + ": wrong shape (expected [64, 64], found [64, 63])"));
  EXPECT_TRUE(has(refusal_after([](hid_t f) { replace_dataset(f, kQuery, H5T_IEEE_F32LE, {4096}, kPlain); }),
                  "expected [64, 64], found [4096]"));
  EXPECT_TRUE(has(
      refusal_after([](hid_t f) { H5Adelete_by_name(f, kQuery, "shape", H5P_DEFAULT); }, NumberFormat::q4_0),
      "is q4_0, but has no attribute 'shape'"));
  EXPECT_TRUE(
      has(refusal_after([](hid_t f) { test::set_integer(f, kQuery, "shape", 64); }, NumberFormat::q4_0),
          std::string(kQuery) + ": wrong shape (expected [64, 64], found [64])"));
  EXPECT_TRUE(has(refusal_after(
                      [](hid_t f) {
                        const Handle old(H5Dopen2(f, kQuery, H5P_DEFAULT), H5Dclose);
                        replace_dataset(f, kQuery, H5T_STD_U8LE, {64, 35}, kPlain);
                        test::set_text(f, kQuery, "number_format", "q4_0");
                        const hsize_t two = 2;
                        const std::int64_t shape[] = {64, 64};
                        const Handle space(H5Screate_simple(1, &two, nullptr), H5Sclose);
                        const Handle attribute(
                            H5Acreate_by_name(f, kQuery, "shape", H5T_STD_I64LE, space.get(), H5P_DEFAULT,
                                              H5P_DEFAULT, H5P_DEFAULT),
                            H5Aclose);
                        H5Awrite(attribute.get(), H5T_NATIVE_INT64, shape);
                      },
                      NumberFormat::q4_0),
                  "wrong stored shape (expected [64, 36], found [64, 35])"));
}

TEST_F(Damaged, RowsThatAreNoWholeBlocksCannotBeBlocks) {
  json config = test::sample_config();
  config["intermediate_size"] = 100;
  test::write_sample(path("a.h5"), config);
  const char* down = "sections/0/layers/0/feed_forward/down/weight";
  test::edit_file(path("a.h5"), [&](hid_t f) { test::set_text(f, down, "number_format", "q8_0"); });
  EXPECT_TRUE(has(refusal(), "rows of 100 values cannot be stored as q8_0"));
}

TEST_F(Damaged, ObjectsOfTheWrongKind) {
  EXPECT_TRUE(has(refusal_after([](hid_t f) {
                    H5Ldelete(f, kQuery, H5P_DEFAULT);
                    Handle(H5Gcreate2(f, kQuery, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
                  }),
                  std::string(kQuery) + ": is of the wrong kind (expected a dataset, found a group)"));
  EXPECT_TRUE(has(refusal_after([](hid_t f) {
                    H5Ldelete(f, "final_norm", H5P_DEFAULT);
                    replace_dataset(f, "final_norm", H5T_IEEE_F32LE, {64}, kPlain);
                  }),
                  "final_norm: is of the wrong kind (expected a group, found a dataset)"));
}

TEST_F(Damaged, DanglingAndCircularLinksAreErrors) {
  EXPECT_TRUE(has(refusal_after([](hid_t f) {
                    H5Ldelete(f, kQuery, H5P_DEFAULT);
                    H5Lcreate_soft("/nowhere", f, kQuery, H5P_DEFAULT, H5P_DEFAULT);
                  }),
                  std::string(kQuery) + ": is a link to '/nowhere', which leads nowhere"));
  EXPECT_TRUE(has(refusal_after([](hid_t f) {
                    H5Ldelete(f, kQuery, H5P_DEFAULT);
                    H5Lcreate_soft(("/" + std::string(kQuery)).c_str(), f, kQuery, H5P_DEFAULT, H5P_DEFAULT);
                  }),
                  "which leads nowhere"));
  EXPECT_TRUE(has(refusal_after([](hid_t f) {
                    H5Ldelete(f, "sections/1/layers", H5P_DEFAULT);
                    H5Lcreate_soft("/sections", f, "sections/1/layers", H5P_DEFAULT, H5P_DEFAULT);
                  }),
                  "is missing"));
}

TEST_F(Damaged, LoopsAmongUnusedObjectsAreHarmless) {
  EXPECT_EQ(refusal_after([](hid_t f) {
              H5Lcreate_hard(f, "/", f, "loop", H5P_DEFAULT, H5P_DEFAULT);
              H5Lcreate_soft("/loop/loop2", f, "loop2", H5P_DEFAULT, H5P_DEFAULT);
            }),
            "no error");
}

TEST_F(Damaged, ExternalLinksNameTheFileInTrouble) {
  test::SampleOptions options;
  options.writer.split = true;
  test::write_sample(path("a.h5"), test::sample_config(), options);
  const std::string section = path("a.section-1.h5");
  const auto size = std::filesystem::file_size(section);
  std::filesystem::resize_file(section, size - 100);
  EXPECT_TRUE(has(refusal(), "sections/1: is an external link to " + section + ": truncated"));
  std::ofstream(section) << "no HDF5 at all";
  EXPECT_TRUE(has(refusal(), section + ": is not an HDF5 file"));
  std::filesystem::remove(section);
  EXPECT_TRUE(has(refusal(), section + ": cannot be opened: No such file"));
  test::write_sample(path("a.h5"), test::sample_config(), options);
  test::edit_file(path("a.h5"), [](hid_t f) {
    H5Ldelete(f, "sections/1", H5P_DEFAULT);
    H5Lcreate_external("a.section-1.h5", "/other", f, "sections/1", H5P_DEFAULT, H5P_DEFAULT);
  });
  EXPECT_TRUE(has(refusal(), "is an external link to '/other' in " + section));
}

TEST_F(Damaged, StrayBiasesAreErrorsAndOtherStraysOneWarning) {
  EXPECT_TRUE(
      has(refusal_after([](hid_t f) {
            replace_dataset(f, "sections/0/layers/1/self_attention/q/bias", H5T_IEEE_F32LE, {64}, kPlain);
          }),
          "sections/0/layers/1/self_attention/q/bias: is a bias that the configuration does not ask for"));
  test::write_sample(path("a.h5"), test::sample_config());
  test::edit_file(path("a.h5"), [](hid_t f) {
    for (int i = 0; i < 7; ++i)
      replace_dataset(f, ("final_norm/extra" + std::to_string(i)).c_str(), H5T_IEEE_F32LE, {64}, kPlain);
  });
  const CheckpointIndex index = read_checkpoint_index(path("a.h5"));
  ASSERT_EQ(index.warnings.size(), 1u);
  EXPECT_TRUE(has(index.warnings[0], "ignores 7 objects"));
  EXPECT_TRUE(has(index.warnings[0], "final_norm/extra0, "));
  EXPECT_TRUE(has(index.warnings[0], ", ..."));
}

TEST_F(Damaged, TokenizersAreChecked) {
  EXPECT_TRUE(has(refusal_after([](hid_t f) { test::set_text(f, "tokenizer", "type", "words"); }),
                  "expected byte, sentencepiece or huggingface, found words"));
  EXPECT_TRUE(has(refusal_after([](hid_t f) { test::set_text(f, "tokenizer", "type", "huggingface"); }),
                  "tokenizer/model: is missing"));
  EXPECT_TRUE(has(refusal_after([](hid_t f) { H5Adelete_by_name(f, "tokenizer", "type", H5P_DEFAULT); }),
                  "tokenizer: attribute 'type' is missing"));
  EXPECT_EQ(refusal_after([](hid_t f) { H5Ldelete(f, "tokenizer", H5P_DEFAULT); }), "no error");
  test::write_sample(path("a.h5"), test::sample_config(),
                     {NumberFormat::f32, {}, "huggingface", std::string(300, 'j')});
  haddr_t offset = 0;
  test::edit_file(path("a.h5"), [&](hid_t f) {
    offset = H5Dget_offset(Handle(H5Dopen2(f, "tokenizer/model", H5P_DEFAULT), H5Dclose).get());
  });
  test::flip_bit(path("a.h5"), static_cast<std::int64_t>(offset) + 10);
  EXPECT_TRUE(has(refusal(), "tokenizer/model: wrong checksum"));
}

/// Copies a checkpoint into a file with HDF5's first superblock, which has no checksum.
void copy_to_old_superblock(const std::string& from, const std::string& to) {
  const Hdf5Session session;
  const Handle source(H5Fopen(from.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  const Handle target(H5Fcreate(to.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
  for (const char* name : {"tokenizer", "embedding", "final_norm", "sections"})
    ASSERT_GE(H5Ocopy(source.get(), name, target.get(), name, H5P_DEFAULT, H5P_DEFAULT), 0);
  test::set_text(target.get(), "/", "format", "stagformer");
  test::set_integer(target.get(), "/", "format_version", 1);
  test::set_text(target.get(), "/", "config", test::sample_config().dump());
}

/// The old superblock's end-of-file address (byte 40) can be made to agree with a cut file: then HDF5 sees
/// nothing wrong, and only the datasets' own extents tell.
void cut_unnoticed(const std::string& path, std::uint64_t end) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(8);
  ASSERT_EQ(file.get(), 0) << "superblock version";
  file.seekp(40);
  file.write(reinterpret_cast<const char*>(&end), sizeof(end));
  file.close();
  std::filesystem::resize_file(path, end);
}

TEST_F(Damaged, DatasetsBeyondTheEndOfTheFileAreTruncated) {
  test::write_sample(path("good.h5"), test::sample_config());
  copy_to_old_superblock(path("good.h5"), path("a.h5"));
  // In a second session, so that its storage cannot take the place of the old one, but comes last in the
  // file.
  test::edit_file(path("a.h5"), [](hid_t f) { H5Ldelete(f, "embedding/weight", H5P_DEFAULT); });
  test::edit_file(path("a.h5"), [](hid_t f) {
    replace_dataset(f, "embedding/weight", H5T_IEEE_F32LE, {300, 64}, kPlain);
  });
  EXPECT_EQ(refusal(), "no error");
  const DatasetInfo last = read_checkpoint_index(path("a.h5")).datasets.at("embedding/weight");
  cut_unnoticed(path("a.h5"), static_cast<std::uint64_t>(last.offset + last.bytes) - 1);
  EXPECT_TRUE(
      has(refusal(), path("a.h5") + ": embedding/weight: truncated: it reaches beyond the end of the file"));
  cut_unnoticed(path("a.h5"), static_cast<std::uint64_t>(last.offset) - 1);
  EXPECT_TRUE(has(refusal(), "truncated"));
}

TEST_F(Damaged, MetadataBeyondTheEndOfTheFileIsTruncated) {
  test::write_sample(path("good.h5"), test::sample_config());
  copy_to_old_superblock(path("good.h5"), path("a.h5"));
  cut_unnoticed(path("a.h5"), std::filesystem::file_size(path("a.h5")) / 2);
  EXPECT_TRUE(has(refusal(), "truncated"));
}

TEST_F(Damaged, FlippedBitsNeverCrashTheReader) {
  test::write_sample(path("good.h5"), test::sample_config());
  const CheckpointIndex good = read_checkpoint_index(path("good.h5"));
  std::mt19937 random(7);
  const auto size = static_cast<std::int64_t>(std::filesystem::file_size(path("good.h5")));
  for (int trial = 0; trial < 60; ++trial) {
    std::filesystem::copy_file(path("good.h5"), path("a.h5"),
                               std::filesystem::copy_options::overwrite_existing);
    const std::int64_t at = std::uniform_int_distribution<std::int64_t>(0, size - 1)(random);
    test::flip_bit(path("a.h5"), trial < 48 ? trial : at);
    try {
      read_checkpoint_index(path("a.h5"));
    } catch (const Error& error) {
      EXPECT_TRUE(has(error.what(), path("a.h5")));
    }
  }
}

}  // namespace
}  // namespace stagformer::internal
