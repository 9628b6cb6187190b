// Small checkpoints with reproducible weights, made through the writer, and means to damage them.
#pragma once

#include <gtest/gtest.h>
#include <hdf5.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "checkpoint/hdf5_handle.hpp"
#include "checkpoint/index.hpp"
#include "checkpoint/schema.hpp"
#include "checkpoint/writer.hpp"
#include "kernels/packed_matrix.hpp"
#include "stagformer/error.hpp"
#include "support/refusal.hpp"

namespace stagformer::internal::test {

/// A folder of its own for each test, removed afterwards.
class CheckpointTest : public testing::Test {
 protected:
  CheckpointTest() {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              ("stagformer-" + std::to_string(getpid()) + "-" + info->test_suite_name() + "-" + info->name());
    std::filesystem::create_directories(folder_);
  }
  ~CheckpointTest() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
      names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  std::filesystem::path folder_;
};

/// Two staggered sections of two layers; rows of 64, 96 and 64 values.
inline nlohmann::json sample_config() {
  return nlohmann::json::parse(R"({"vocab_size": 300, "hidden_size": 64, "intermediate_size": 96,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "bos_token_id": 256,
    "eos_token_id": [257], "sections": {"count": 2, "layers_per_section": 2}})");
}

inline nlohmann::json shared_config() {
  nlohmann::json config = sample_config();
  config["sections"]["weights"] = "shared";
  return config;
}

/// Values of a dataset, the same for the same name.
inline std::vector<float> sample_values(const std::string& name, std::int64_t count) {
  std::mt19937 random(static_cast<unsigned>(std::hash<std::string>()(name)));
  std::normal_distribution<float> normal(0, 0.5F);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

inline std::vector<std::byte> sample_stored(const DatasetRequest& request, NumberFormat format) {
  const std::int64_t columns = request.shape.back(),
                     rows = request.shape.size() > 1 ? request.shape.front() : 1;
  const std::vector<float> values = sample_values(request.name, rows * columns);
  const std::int64_t row_bytes = stored_row_bytes(format, columns);
  std::vector<std::byte> stored(static_cast<std::size_t>(rows * row_bytes));
  for (std::int64_t r = 0; r < rows; ++r)
    quantize_row(format, columns, values.data() + r * columns, stored.data() + r * row_bytes);
  return stored;
}

struct SampleOptions {
  NumberFormat format = NumberFormat::f32;
  WriterOptions writer = {};
  std::string tokenizer = "byte";
  std::string model = "";
};

inline void write_sample(const std::string& path, const nlohmann::json& config,
                         const SampleOptions& options = {}) {
  const ModelConfig parsed = ModelConfig::from_json(config.dump());
  CheckpointWriter writer(path, config.dump(), options.writer);
  writer.set_tokenizer(options.tokenizer, std::as_bytes(std::span(options.model)));
  std::vector<std::string> linked;
  for (const auto& [block, target] : shared_blocks(parsed)) {
    writer.alias(block, target);
    linked.push_back(block + "/");
  }
  for (const DatasetRequest& request : schema_of(parsed)) {
    const auto is_linked = [&](const std::string& prefix) { return request.name.rfind(prefix, 0) == 0; };
    if (std::any_of(linked.begin(), linked.end(), is_linked)) continue;
    const NumberFormat format = request.f32_only ? NumberFormat::f32 : options.format;
    writer.write(request.name, format, sample_stored(request, format));
  }
  writer.finish();
}

/// Opens a file for writing and hands it to `edit`.
inline void edit_file(const std::string& path, const std::function<void(hid_t)>& edit) {
  const Hdf5Session session;
  const Handle file(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
  ASSERT_TRUE(file) << take_hdf5_error();
  edit(file.get());
}

inline void set_text(hid_t file, const char* object, const char* name, const std::string& value) {
  if (H5Aexists_by_name(file, object, name, H5P_DEFAULT) > 0)
    H5Adelete_by_name(file, object, name, H5P_DEFAULT);
  const Handle type(H5Tcopy(H5T_C_S1), H5Tclose), space(H5Screate(H5S_SCALAR), H5Sclose);
  H5Tset_size(type.get(), value.size() + 1);
  const Handle attribute(
      H5Acreate_by_name(file, object, name, type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
      H5Aclose);
  ASSERT_GE(H5Awrite(attribute.get(), type.get(), value.c_str()), 0);
}

inline void set_integer(hid_t file, const char* object, const char* name, std::int64_t value) {
  if (H5Aexists_by_name(file, object, name, H5P_DEFAULT) > 0)
    H5Adelete_by_name(file, object, name, H5P_DEFAULT);
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle attribute(H5Acreate_by_name(file, object, name, H5T_STD_I64LE, space.get(), H5P_DEFAULT,
                                           H5P_DEFAULT, H5P_DEFAULT),
                         H5Aclose);
  ASSERT_GE(H5Awrite(attribute.get(), H5T_NATIVE_INT64, &value), 0);
}

/// Puts another dataset in the place of an existing one; zero-filled where storage is allocated.
inline void replace_dataset(hid_t file, const char* name, hid_t type, const std::vector<hsize_t>& shape,
                            const std::function<void(hid_t)>& configure) {
  H5Ldelete(file, name, H5P_DEFAULT);
  const Handle space(H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr), H5Sclose);
  const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose), links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(links.get(), 1);
  H5Pset_alloc_time(creation.get(), H5D_ALLOC_TIME_EARLY);
  configure(creation.get());
  const Handle dataset(H5Dcreate2(file, name, type, space.get(), links.get(), creation.get(), H5P_DEFAULT),
                       H5Dclose);
  ASSERT_TRUE(dataset) << take_hdf5_error();
}

inline void flip_bit(const std::string& path, std::int64_t offset) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(offset);
  const char byte = static_cast<char>(file.get() ^ 0x10);
  file.seekp(offset);
  file.put(byte);
}

}  // namespace stagformer::internal::test
