#include "checkpoint/dataset_checks.hpp"

#include "checkpoint/hdf5_read.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

std::string where_of(hid_t dataset, const DatasetRequest& request) {
  return file_name_of(dataset) + ": " + request.name;
}

/// The attribute `number_format`; absent means f32.
void read_format(hid_t dataset, const DatasetRequest& request, DatasetInfo& info) {
  const auto name = string_attribute(dataset, "number_format", where_of(dataset, request));
  if (!name) return;
  try {
    info.format = number_format_from(*name);
  } catch (const ConfigError& error) {
    throw CheckpointError(file_name_of(dataset), request.name, error.what());
  }
  if (request.f32_only && info.format != NumberFormat::f32)
    throw CheckpointError(file_name_of(dataset), request.name,
                          "norms, biases and coefficients are stored as f32", "f32", *name);
  if (is_block_format(info.format) && info.columns() % kBlockValues != 0)
    throw CheckpointError(file_name_of(dataset), request.name,
                          "rows of " + std::to_string(info.columns()) + " values cannot be stored as " +
                              *name + " (blocks of 32)");
}

/// The exact type, byte order included: bytes are taken as they are, nothing converts them.
void check_type(hid_t dataset, const DatasetRequest& request, const DatasetInfo& info) {
  const Handle type = checked(H5Dget_type(dataset), H5Tclose, where_of(dataset, request), "H5Dget_type");
  // One byte has no order, whatever the type says, so that a big-endian uint8 is as good.
  const bool bytes = is_block_format(info.format);
  const bool single_byte = H5Tget_class(type.get()) == H5T_INTEGER && H5Tget_size(type.get()) == 1 &&
                           H5Tget_sign(type.get()) == H5T_SGN_NONE;
  const bool fits = bytes                              ? single_byte
                    : info.format == NumberFormat::f32 ? H5Tequal(type.get(), H5T_IEEE_F32LE) > 0
                                                       : H5Tequal(type.get(), H5T_STD_U16LE) > 0;
  if (fits) return;
  const char* expected = bytes ? "uint8" : info.format == NumberFormat::f32 ? "float32" : "uint16";
  throw CheckpointError(file_name_of(dataset), request.name,
                        std::string("has the wrong type for number_format ") + name_of(info.format),
                        "little-endian " + std::string(expected), describe_type(type.get()));
}

/// Stored shape against the one asked for. Block formats store bytes, so their logical shape stands in an
/// attribute; elsewhere that attribute is not needed, but must not contradict.
void check_shape(hid_t dataset, const DatasetRequest& request, const DatasetInfo& info) {
  const std::string file = file_name_of(dataset), at = where_of(dataset, request);
  const auto logical = integer_attribute(dataset, "shape", at);
  if (is_block_format(info.format) && !logical)
    throw CheckpointError(
        file, request.name,
        std::string("is ") + name_of(info.format) + ", but has no attribute 'shape' with its logical shape");
  if (logical && *logical != request.shape)
    throw CheckpointError(file, request.name, "wrong shape", shape_text(request.shape), shape_text(*logical));
  std::vector<std::int64_t> stored = request.shape;
  if (is_block_format(info.format)) stored.back() = stored_row_bytes(info.format, stored.back());
  const std::vector<std::int64_t> found = extents_of(dataset, at);
  if (found != stored)
    throw CheckpointError(file, request.name,
                          is_block_format(info.format) ? "wrong stored shape" : "wrong shape",
                          shape_text(stored), shape_text(found));
}

/// Only a contiguous dataset has one offset to read from.
void check_storage(hid_t dataset, const DatasetRequest& request) {
  const std::string at = where_of(dataset, request);
  const Handle creation = checked(H5Dget_create_plist(dataset), H5Pclose, at, "H5Dget_create_plist");
  const H5D_layout_t layout = H5Pget_layout(creation.get());
  const bool filtered = H5Pget_nfilters(creation.get()) > 0,
             elsewhere = H5Pget_external_count(creation.get()) > 0;
  if (layout == H5D_CONTIGUOUS && !filtered && !elsewhere) return;
  const char* found = filtered                   ? "chunked and filtered"
                      : layout == H5D_CHUNKED    ? "chunked"
                      : layout == H5D_COMPACT    ? "compact"
                      : layout == H5D_CONTIGUOUS ? "in external raw files"
                                                 : "virtual";
  throw CheckpointError(file_name_of(dataset), request.name, "its storage cannot be read directly",
                        "contiguous", found);
}

}  // namespace

DatasetInfo describe_dataset(hid_t dataset, const DatasetRequest& request) {
  DatasetInfo info;
  info.shape = request.shape;
  read_format(dataset, request, info);
  check_type(dataset, request, info);
  check_shape(dataset, request, info);
  check_storage(dataset, request);
  return info;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace stagformer::internal
