#include "checkpoint/convert.hpp"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/thread_team.hpp"
#include "checkpoint/dataset_stream.hpp"
#include "checkpoint/index.hpp"
#include "checkpoint/schema.hpp"
#include "checkpoint/sharing.hpp"
#include "checkpoint/writer.hpp"
#include "kernels/packed_matrix.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

/// One conversion: the input's index, and the report as it grows.
class Converter {
 public:
  explicit Converter(const ConvertOptions& options)
      : options_(options),
        index_(read_checkpoint_index(options.input)),
        sharing_(sharing_of(index_)),
        reader_(index_, true),
        team_(omp_get_max_threads()) {}

  ConvertReport run();

 private:
  void check_output() const;
  bool is_stored(const std::string& name) const;
  NumberFormat target_of(const DatasetRequest& request, const DatasetInfo& info);
  void convert_dataset(CheckpointWriter& writer, const DatasetRequest& request);
  std::vector<std::byte> requantized(const DatasetInfo& info, const RowSlice& slice, NumberFormat to) const;
  void advance(std::int64_t bytes);

  const ConvertOptions& options_;
  CheckpointIndex index_;
  Sharing sharing_;
  TensorReader reader_;
  ThreadTeam team_;
  ConvertReport report_;
  std::int64_t done_ = 0;
};

/// Compared as files, not as names: links and split files count.
void Converter::check_output() const {
  for (const std::string& output : report_.files)
    for (std::size_t i = 0; i < index_.files.size(); ++i) {
      std::error_code missing;
      const std::string input = path_of_file(index_, static_cast<int>(i));
      if (std::filesystem::equivalent(output, input, missing))
        throw InputError(output +
                         ": is a file of the input checkpoint and would be overwritten; choose another name");
    }
}

bool Converter::is_stored(const std::string& name) const {
  return std::binary_search(sharing_.stored.begin(), sharing_.stored.end(), name);
}

/// The format to write, counted in the report.
NumberFormat Converter::target_of(const DatasetRequest& request, const DatasetInfo& info) {
  if (!options_.to || request.f32_only || info.format == *options_.to) return info.format;
  if (is_block_format(*options_.to) && info.columns() % kBlockValues != 0) {
    report_.kept.push_back(request.name);
    return info.format;
  }
  ++report_.converted;
  return *options_.to;
}

/// Row by row through f32; `slice` holds the values in the dataset's own format.
std::vector<std::byte> Converter::requantized(const DatasetInfo& info, const RowSlice& slice,
                                              NumberFormat to) const {
  const std::int64_t from_bytes = info.bytes / info.rows(), to_bytes = stored_row_bytes(to, info.columns());
  std::vector<std::byte> out(static_cast<std::size_t>(slice.count * to_bytes));
  const auto convert_rows = [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(static_cast<std::size_t>(info.columns()));
    for (std::int64_t r = begin; r < end; ++r) {
      dequantize_row(info.format, info.columns(), slice.stored.data() + r * from_bytes, row.data());
      quantize_row(to, info.columns(), row.data(), out.data() + r * to_bytes);
    }
  };
  team_.for_ranges(slice.count, slice.count * info.columns(), convert_rows);
  return out;
}

void Converter::convert_dataset(CheckpointWriter& writer, const DatasetRequest& request) {
  const DatasetInfo& info = index_.datasets.at(request.name);
  const NumberFormat to = target_of(request, info);
  // Scales are float16, and bf16 rounds up: large finite values may become infinite on the way.
  const std::string overflow = std::string("a value is too large for ") + name_of(to);
  writer.begin(request.name, to);
  stream_dataset(index_, reader_, request.name, [&](const RowSlice& slice) {
    if (to == info.format) {
      writer.append(slice.stored);
    } else {
      const std::vector<std::byte> stored = requantized(info, slice, to);
      check_finite(index_, request.name, to, {slice.first, slice.count, stored}, overflow.c_str());
      writer.append(stored);
    }
    advance(static_cast<std::int64_t>(slice.stored.size()));
  });
  writer.end();
  report_.output_bytes += info.rows() * stored_row_bytes(to, info.columns());
}

void Converter::advance(std::int64_t bytes) {
  done_ += bytes;
  if (options_.progress) options_.progress(done_, report_.input_bytes);
}

ConvertReport Converter::run() {
  report_.files = checkpoint_files(options_.output, index_.config.sections.count, options_.split);
  check_output();
  report_.warnings = index_.warnings;
  report_.stored_datasets = static_cast<std::int64_t>(sharing_.stored.size());
  report_.linked_datasets = sharing_.linked_datasets;
  for (const std::string& name : sharing_.stored) report_.input_bytes += index_.datasets.at(name).bytes;

  WriterOptions writer_options;
  writer_options.split = options_.split;
  writer_options.alignment = options_.alignment;
  writer_options.source =
      index_.source.empty() ? std::filesystem::path(options_.input).filename().string() : index_.source;
  CheckpointWriter writer(options_.output, index_.config_json, writer_options);
  if (!index_.tokenizer_type.empty()) {
    writer.set_tokenizer(index_.tokenizer_type, index_.tokenizer_model);
    writer.set_chat(index_.chat);
  }
  for (const DatasetRequest& request : schema_of(index_.config))
    if (is_stored(request.name)) convert_dataset(writer, request);
  for (const auto& [name, target] : sharing_.links) writer.alias(name, target);
  writer.finish();
  return report_;
}

}  // namespace

ConvertReport convert_checkpoint(const ConvertOptions& options) {
  return Converter(options).run();
}

}  // namespace stagformer::internal
