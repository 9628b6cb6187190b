#include "checkpoint/made_tensors.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "base/hash.hpp"
#include "checkpoint/schema.hpp"
#include "kernels/packed_matrix.hpp"

namespace stagformer::internal {
namespace {

std::uint64_t text_hash(const std::string& text, std::uint64_t hash) {
  hash ^= kHashStart;
  for (const char c : text) hash = hash_step(hash, static_cast<unsigned char>(c));
  return hash;
}

/// Spreads every bit over all others (the finalizer of MurmurHash3).
std::uint64_t mixed(std::uint64_t x) {
  x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdULL;
  x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53ULL;
  return x ^ (x >> 33);
}

/// The name under which a dataset of shared weights is stored: that of section 0.
std::string stored_name(const std::string& name, const std::map<std::string, std::string>& shared) {
  for (std::size_t end = name.find('/'); end != std::string::npos; end = name.find('/', end + 1)) {
    const auto found = shared.find(name.substr(0, end));
    if (found != shared.end()) return found->second + name.substr(end);
  }
  return name;
}

NumberFormat fitting(NumberFormat wanted, NumberFormat otherwise, std::int64_t columns) {
  return is_block_format(wanted) && columns % kBlockValues != 0 ? otherwise : wanted;
}

std::string kept_warning(std::int64_t kept, NumberFormat format) {
  return std::to_string(kept) + " matrices are not " + name_of(format) +
         ": their rows are no multiple of 32 values";
}

/// fill(r, row) gives the f32 values of row r, which are stored in the dataset's format.
template <typename Fill>
void make_rows(const ThreadTeam& team, const DatasetInfo& info, std::int64_t count, std::span<std::byte> out,
               const Fill& fill) {
  const std::int64_t row_bytes = info.bytes / info.rows();
  team.for_ranges(count, count * info.columns(), [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(static_cast<std::size_t>(info.columns()));
    for (std::int64_t r = begin; r < end; ++r) {
      fill(r, row);
      quantize_row(info.format, info.columns(), row.data(), out.data() + r * row_bytes);
    }
  });
}

/// Uniform with variance 1 / columns: a product's outputs are about as large as its inputs.
void draw_row(std::uint64_t key, std::vector<float>& row) {
  const float range = std::sqrt(3.0F / static_cast<float>(row.size()));
  for (std::size_t k = 0; k < row.size(); ++k) {
    const auto bits = static_cast<std::int32_t>(mixed(key + k) >> 32);
    row[k] = static_cast<float>(bits) * 0x1p-31F * range;
  }
}

float vector_value(const std::string& name, const ModelConfig& config) {
  if (name.ends_with("/bias")) return 0;
  if (name == "readout/coefficients") return 1.0F / static_cast<float>(config.sections.count);
  return 1;
}

}  // namespace

CheckpointIndex random_index(const std::string& config_json, NumberFormat format, std::uint64_t seed) {
  CheckpointIndex index;
  index.config_json = config_json;
  index.config = ModelConfig::from_json(config_json);
  index.tokenizer_type = "byte";
  index.source = "random weights, seed " + std::to_string(seed);
  FileInfo nowhere{"no file", 0, 0};
  const auto blocks = shared_blocks(index.config);
  const std::map<std::string, std::string> shared(blocks.begin(), blocks.end());
  std::int64_t kept = 0;
  for (const DatasetRequest& request : schema_of(index.config)) {
    if (request.optional) continue;
    const std::string stored = stored_name(request.name, shared);
    if (const auto found = index.datasets.find(stored); found != index.datasets.end()) {
      index.datasets[request.name] = found->second;
      continue;
    }
    DatasetInfo info;
    info.shape = request.shape;
    info.format = request.f32_only ? NumberFormat::f32 : fitting(format, NumberFormat::f32, info.columns());
    kept += !request.f32_only && info.format != format;
    info.bytes = info.rows() * stored_row_bytes(info.format, info.columns());
    info.offset = nowhere.bytes;
    info.head_hash = text_hash(stored, mixed(seed + 1));  // what is drawn
    nowhere.bytes += info.bytes;
    index.datasets[request.name] = info;
  }
  index.files = {nowhere};
  if (kept > 0) index.warnings.push_back(kept_warning(kept, format));
  return index;
}

CheckpointIndex converted_index(const CheckpointIndex& stored, NumberFormat format) {
  CheckpointIndex index = stored;
  std::int64_t kept = 0;
  for (auto& [name, info] : index.datasets) {
    if (info.shape.size() < 2) continue;
    const NumberFormat to = fitting(format, info.format, info.columns());
    kept += to != format;
    if (to == info.format) continue;
    info.format = to;
    info.bytes = info.rows() * stored_row_bytes(to, info.columns());
    info.checksum.reset();
  }
  if (kept > 0) index.warnings.push_back(kept_warning(kept, format));
  return index;
}

void RandomTensors::read_rows(const std::string& name, std::int64_t first, std::int64_t count,
                              std::span<std::byte> out) {
  const DatasetInfo& info = index_.datasets.at(name);
  if (info.shape.size() == 1) {
    const float value = vector_value(name, index_.config);
    return make_rows(team_, info, count, out,
                     [&](std::int64_t, std::vector<float>& row) { std::ranges::fill(row, value); });
  }
  make_rows(team_, info, count, out, [&](std::int64_t r, std::vector<float>& row) {
    draw_row(mixed(info.head_hash + static_cast<std::uint64_t>(first + r)), row);
  });
}

ConvertedTensors::ConvertedTensors(CheckpointIndex stored, const CheckpointIndex& converted, bool verify,
                                   int threads)
    : TensorReader(converted, verify),
      stored_(std::move(stored)),
      converted_(converted),
      reader_(stored_, verify),
      team_(threads) {}

void ConvertedTensors::read_rows(const std::string& name, std::int64_t first, std::int64_t count,
                                 std::span<std::byte> out) {
  const DatasetInfo &from = stored_.datasets.at(name), &to = converted_.datasets.at(name);
  if (from.format == to.format) return reader_.read_rows(name, first, count, out);
  const std::int64_t row_bytes = from.bytes / from.rows();
  std::vector<std::byte> stored(static_cast<std::size_t>(count * row_bytes));
  reader_.read_rows(name, first, count, stored);
  make_rows(team_, to, count, out, [&](std::int64_t r, std::vector<float>& row) {
    dequantize_row(from.format, from.columns(), stored.data() + r * row_bytes, row.data());
  });
}

}  // namespace stagformer::internal
