#include "pipeline/rank_model.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "kernels/packed_matrix.hpp"
#include "model/scratch.hpp"
#include "model/section.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

std::string layer_name(int section, int layer) {
  return "sections/" + std::to_string(section) + "/layers/" + std::to_string(layer) + "/";
}

const std::string& head_name(const ModelConfig& config) {
  static const std::string kTied = "embedding/weight", kOwn = "head/weight";
  return config.tie_word_embeddings ? kTied : kOwn;
}

bool needs_embedding(const ModelConfig& config, const RankPart& part) {
  for (int s = part.first_section; s < part.first_section + part.sections; ++s)
    if (config.starts_from_embedding(s)) return true;
  return false;
}

/// Rows of the head that the rank packs: [begin, end).
std::pair<std::int64_t, std::int64_t> head_rows(const ModelConfig& config, const RankPart& part) {
  if (!part.any_head) return {0, 0};
  if (part.whole_head) return {0, config.vocab_size};
  return {part.slice.row_begin(), part.slice.row_begin() + part.slice.rows()};
}

using Place = std::pair<int, std::int64_t>;  // file and offset: where an object lies, whatever its name
Place place_of(const DatasetInfo& info) {
  return {info.file, info.offset};
}

/// The matrices of the part in the order in which a step reads them, each object once.
std::vector<std::string> matrix_names(const CheckpointIndex& index, const RankPart& part) {
  std::vector<std::string> names;
  std::map<Place, bool> seen;
  const auto add = [&](const std::string& name) {
    const auto found = index.datasets.find(name);
    if (found != index.datasets.end() && !seen[place_of(found->second)]) {
      seen[place_of(found->second)] = true;
      names.push_back(name);
    }
  };
  const bool needs_scores = index.config.sections.cross_attention.window.value_or(0) != 1;
  for (int s = part.first_section; s < part.first_section + part.sections; ++s)
    for (int l = 0; l < index.config.sections.layers_per_section[static_cast<std::size_t>(s)]; ++l) {
      for (const char* matrix : {"q", "k", "v", "o"})
        add(layer_name(s, l) + "self_attention/" + matrix + "/weight");
      if (index.config.has_cross_attention(s, l))
        for (const char* matrix : {"q", "k", "v", "o"})
          if (needs_scores || *matrix == 'v' || *matrix == 'o')
            add(layer_name(s, l) + "cross_attention/" + matrix + "/weight");
      for (const char* matrix : {"gate", "up", "down"})
        add(layer_name(s, l) + "feed_forward/" + matrix + "/weight");
    }
  return names;
}

std::int64_t packed_bytes_of(const DatasetInfo& info) {
  return packed_bytes(info.format, info.shape[0], info.shape[1]);
}

}  // namespace

RankPart rank_part(const ModelConfig& config, const Grid& grid, int rank_in_replica, HeadMode head) {
  RankPart part;
  part.rank = rank_in_replica;
  part.ranks = grid.ranks_per_replica();
  part.first_section = grid.first_section(rank_in_replica);
  part.sections = grid.sections_per_rank();
  const bool last_only = head == HeadMode::last && part.ranks > 1;
  part.any_head = !last_only || part.hosts_last(config);
  part.whole_head = last_only && part.any_head;
  part.slice = part.whole_head ? vocabulary_slice(config.vocab_size, 0, 1)
                               : vocabulary_slice(config.vocab_size, rank_in_replica, part.ranks);
  return part;
}

/// Walks the part's datasets: reads one tensor at a time into a staging buffer, checks it, packs it.
class RankModel::Loader {
 public:
  Loader(RankModel& model, const CheckpointIndex& index, TensorReader& reader, const ThreadTeam& team,
         const Progress& progress)
      : model_(model), index_(index), reader_(reader), team_(team), progress_(progress) {}

  void load() {
    const std::vector<std::string> names = matrix_names(index_, model_.part_);
    const auto [head_begin, head_end] = head_rows(model_.config_, model_.part_);
    const DatasetInfo& head = info(head_name(model_.config_));
    const std::int64_t head_bytes = packed_bytes(head.format, head_end - head_begin, head.shape[1]);
    std::int64_t packed = head_bytes;
    for (const std::string& name : names) {
      packed += packed_bytes_of(info(name));
      total_ += info(name).bytes;
    }
    total_ += stored_row_bytes(head.format, head.shape[1]) * (head_end - head_begin);
    model_.arena_ = AlignedBuffer<std::byte>(static_cast<std::size_t>(packed), false);
    for (const std::string& name : names) load_matrix(name);
    load_vectors();
    load_embedding_and_head(head_begin, head_end);
  }

 private:
  const DatasetInfo& info(const std::string& name) const {
    const auto found = index_.datasets.find(name);
    if (found == index_.datasets.end()) throw CheckpointError(index_.path, name, "dataset is missing");
    return found->second;
  }

  void check_finite(const std::string& name, const DatasetInfo& data, std::int64_t rows,
                    const std::byte* stored, std::int64_t first_row) const {
    const std::int64_t bad = first_non_finite_row(data.format, rows, data.shape[1], stored);
    if (bad >= 0)
      throw CheckpointError(path_of_file(index_, data.file), name,
                            "a weight in row " + std::to_string(first_row + bad) + " is not finite");
  }

  PackedMatrix pack(const DatasetInfo& data, std::int64_t rows, const std::byte* stored) {
    PackedMatrix matrix{data.format, rows, data.shape[1], nullptr};
    std::byte* to = model_.arena_.data() + used_;
    matrix.data = to;
    used_ += packed_bytes(data.format, rows, data.shape[1]);
    STAG_CHECK(used_ <= static_cast<std::int64_t>(model_.arena_.bytes()), used_, model_.arena_.bytes());
    team_.for_ranges(matrix.panels(), rows * data.shape[1], [&](std::int64_t begin, std::int64_t end) {
      pack_panels(data.format, rows, data.shape[1], stored, begin, end, to);
    });
    return matrix;
  }

  void advance(std::int64_t bytes) {
    done_ += bytes;
    if (progress_) progress_(done_, total_);
  }

  void load_matrix(const std::string& name) {
    const DatasetInfo& data = info(name);
    staging_.resize(static_cast<std::size_t>(data.bytes));
    reader_.read(name, staging_);
    check_finite(name, data, data.shape[0], staging_.data(), 0);
    packed_[place_of(data)] = pack(data, data.shape[0], staging_.data());
    advance(data.bytes);
  }

  PackedMatrix matrix(const std::string& name) const {
    const auto found = index_.datasets.find(name);
    if (found == index_.datasets.end()) return {};
    const auto packed = packed_.find(place_of(found->second));
    return packed == packed_.end() ? PackedMatrix{} : packed->second;
  }

  std::vector<float> optional_vector(const std::string& name) {
    return index_.datasets.contains(name) ? reader_.read_vector(name) : std::vector<float>{};
  }

  AttentionWeights attention(const std::string& prefix) {
    AttentionWeights w;
    w.norm = reader_.read_vector(prefix + "norm/weight");
    w.q = matrix(prefix + "q/weight");
    w.k = matrix(prefix + "k/weight");
    w.v = matrix(prefix + "v/weight");
    w.o = matrix(prefix + "o/weight");
    w.q_bias = optional_vector(prefix + "q/bias");
    w.k_bias = optional_vector(prefix + "k/bias");
    w.v_bias = optional_vector(prefix + "v/bias");
    return w;
  }

  void load_vectors() {
    const RankPart& part = model_.part_;
    for (int s = part.first_section; s < part.first_section + part.sections; ++s) {
      SectionWeights section;
      for (int l = 0; l < model_.config_.sections.layers_per_section[static_cast<std::size_t>(s)]; ++l) {
        const std::string prefix = layer_name(s, l);
        LayerWeights layer;
        layer.self_attention = attention(prefix + "self_attention/");
        if (model_.config_.has_cross_attention(s, l))
          layer.cross_attention = attention(prefix + "cross_attention/");
        layer.feed_forward.norm = reader_.read_vector(prefix + "feed_forward/norm/weight");
        layer.feed_forward.gate = matrix(prefix + "feed_forward/gate/weight");
        layer.feed_forward.up = matrix(prefix + "feed_forward/up/weight");
        layer.feed_forward.down = matrix(prefix + "feed_forward/down/weight");
        section.layers.push_back(std::move(layer));
      }
      if (model_.config_.has_memory(s) && model_.config_.sections.cross_attention.memory_norm)
        section.memory_norm = reader_.read_vector("sections/" + std::to_string(s) + "/memory_norm/weight");
      model_.sections_.push_back(std::move(section));
    }
    model_.final_norm_ = reader_.read_vector("final_norm/weight");
    if (model_.config_.sections.readout == Readout::linear_combination)
      model_.readout_coefficients_ = reader_.read_vector("readout/coefficients");
  }

  void load_embedding_and_head(std::int64_t begin, std::int64_t end) {
    const ModelConfig& config = model_.config_;
    const DatasetInfo& table = info("embedding/weight");
    if (needs_embedding(config, model_.part_)) {
      EmbeddingWeights& embedding = model_.embedding_;
      embedding.format = table.format;
      embedding.row_bytes = stored_row_bytes(table.format, config.hidden_size);
      embedding.rows.resize(static_cast<std::size_t>(table.bytes));
      reader_.read("embedding/weight", embedding.rows);
      check_finite("embedding/weight", table, table.shape[0], embedding.rows.data(), 0);
      if (config.tie_word_embeddings) {
        model_.head_ = pack(table, end - begin, embedding.rows.data() + begin * embedding.row_bytes);
        return advance(embedding.row_bytes * (end - begin));
      }
    }
    load_head_slice(begin, end);
  }

  // The last rank reads the whole head, so that its checksum is verified once a replica; the others read
  // their rows.
  void load_head_slice(std::int64_t begin, std::int64_t end) {
    if (begin == end) return;
    const std::string& name = head_name(model_.config_);
    const DatasetInfo& data = info(name);
    const std::int64_t row = stored_row_bytes(data.format, data.shape[1]);
    const bool whole = model_.part_.hosts_last(model_.config_);
    const std::int64_t first = whole ? 0 : begin, last = whole ? data.shape[0] : end;
    staging_.resize(static_cast<std::size_t>((last - first) * row));
    if (whole)
      reader_.read(name, staging_);
    else
      reader_.read_rows(name, first, last - first, staging_);
    check_finite(name, data, last - first, staging_.data(), first);
    model_.head_ = pack(data, end - begin, staging_.data() + (begin - first) * row);
    advance(row * (end - begin));
  }

  RankModel& model_;
  const CheckpointIndex& index_;
  TensorReader& reader_;
  const ThreadTeam& team_;
  const Progress& progress_;
  std::vector<std::byte> staging_;
  std::map<Place, PackedMatrix> packed_;
  std::int64_t used_ = 0, done_ = 0, total_ = 0;
};

RankModel::RankModel(const CheckpointIndex& index, const RankPart& part, TensorReader& reader,
                     const ThreadTeam& team, const Progress& progress)
    : config_(index.config), part_(part) {
  Loader(*this, index, reader, team, progress).load();
}

MemoryPlan RankModel::plan(const CheckpointIndex& index, const RankPart& part, const EngineOptions& options) {
  const ModelConfig& config = index.config;
  MemoryPlan plan;
  for (const std::string& name : matrix_names(index, part)) {
    const DatasetInfo& data = index.datasets.at(name);
    plan.weights += packed_bytes_of(data);
    plan.staging = std::max(plan.staging, data.bytes);
  }
  const auto [head_begin, head_end] = head_rows(config, part);
  const DatasetInfo& head = index.datasets.at(head_name(config));
  plan.weights += packed_bytes(head.format, head_end - head_begin, head.shape[1]);
  if (needs_embedding(config, part)) plan.embedding = index.datasets.at("embedding/weight").bytes;
  if (!config.tie_word_embeddings && part.hosts_last(config))
    plan.staging = std::max(plan.staging, head.bytes);

  const bool both_banks =
      options.decode == DecodeMode::recurrent && config.sections.prompt_memory == PromptMemory::own;
  const SectionCapacity capacity{options.slots, options.context,
                                 std::max<std::int64_t>(options.chunk, options.slots), both_banks ? 2 : 1,
                                 options.cache_format};
  for (int s = part.first_section; s < part.first_section + part.sections; ++s)
    plan.caches += Section::cache_bytes(config, s, capacity);
  const std::int64_t readouts = options.score_all_rows ? capacity.rows : options.slots;
  const auto floats = static_cast<std::int64_t>(sizeof(float));
  // Sections with the same weights do a step as one batch.
  const std::int64_t stacked = std::max<std::int64_t>(capacity.rows, options.slots * part.sections);
  plan.buffers = Scratch::bytes(config, stacked, options.context, options.threads) +
                 6 * stacked * config.hidden_size * floats +
                 readouts * (part.slice.rows() + config.hidden_size * 3) * floats;
  return plan;
}

}  // namespace stagformer::internal
