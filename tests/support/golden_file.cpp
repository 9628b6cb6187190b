#include "support/golden_file.hpp"

#include <hdf5.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>

namespace stagformer::test {
namespace {

template <typename T>
std::vector<T> read_array(hid_t file, const char* name, hid_t type, std::vector<std::int64_t>& shape) {
  const hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT);
  if (dataset < 0) throw std::runtime_error(std::string("golden file has no ") + name);
  const hid_t space = H5Dget_space(dataset);
  std::vector<hsize_t> dims(static_cast<std::size_t>(H5Sget_simple_extent_ndims(space)));
  H5Sget_simple_extent_dims(space, dims.data(), nullptr);
  std::size_t size = 1;
  for (const hsize_t n : dims) size *= n;
  shape.assign(dims.begin(), dims.end());
  std::vector<T> values(size);
  if (H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0)
    throw std::runtime_error(std::string("cannot read ") + name);
  H5Sclose(space);
  H5Dclose(dataset);
  return values;
}

bool has(hid_t file, const char* name) {
  return H5Lexists(file, name, H5P_DEFAULT) > 0;
}

GoldenArray read_floats(hid_t file, const char* name) {
  GoldenArray array;
  array.values = read_array<float>(file, name, H5T_NATIVE_FLOAT, array.shape);
  return array;
}

std::int64_t read_attribute(hid_t file, const char* dataset, const char* name) {
  const hid_t attribute = H5Aopen_by_name(file, dataset, name, H5P_DEFAULT, H5P_DEFAULT);
  if (attribute < 0) throw std::runtime_error(std::string(dataset) + " has no attribute " + name);
  std::int64_t value = -1;
  H5Aread(attribute, H5T_NATIVE_INT64, &value);
  H5Aclose(attribute);
  return value;
}

}  // namespace

std::string golden_folder() {
  const char* given = std::getenv("STAGFORMER_GOLDEN");
  return given ? given : STAGFORMER_GOLDEN_DIR;
}

std::string golden_checkpoint(const std::string& name) {
  return golden_folder() + "/" + name + ".h5";
}

Golden read_golden(const std::string& name) {
  const std::string path = golden_folder() + "/" + name + ".golden.h5";
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  if (file < 0) throw std::runtime_error("cannot open " + path);
  Golden golden;
  std::vector<std::int64_t> shape;
  golden.tokens = read_array<std::int32_t>(file, "tokens", H5T_NATIVE_INT32, shape);
  golden.batch = shape.at(0);
  golden.length = shape.at(1);
  golden.section_outputs = read_floats(file, "section_outputs");
  golden.log_probabilities = read_floats(file, "log_probabilities");
  if (has(file, "greedy")) {
    golden.greedy = read_array<std::int32_t>(file, "greedy", H5T_NATIVE_INT32, shape);
    golden.greedy_length = shape.at(1);
    golden.prompt_tokens = read_attribute(file, "greedy", "prompt_tokens");
  }
  if (has(file, "recurrent_own_log_probabilities")) {
    golden.recurrent_after = read_attribute(file, "recurrent_own_log_probabilities", "recurrent_after");
    golden.recurrent_own = read_floats(file, "recurrent_own_log_probabilities");
    golden.recurrent_previous_pass = read_floats(file, "recurrent_previous_pass_log_probabilities");
  }
  H5Fclose(file);
  return golden;
}

std::vector<std::string> golden_cases(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(golden_folder() + "/" + folder)) {
    const std::string file = entry.path().filename().string();
    if (!file.ends_with(".golden.h5")) continue;
    names.push_back(file.substr(0, file.size() - std::string(".golden.h5").size()));
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace stagformer::test
