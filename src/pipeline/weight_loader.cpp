#include "pipeline/weight_loader.hpp"

#include <algorithm>
#include <atomic>
#include <fstream>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "base/check.hpp"
#include "checkpoint/dataset_stream.hpp"
#include "kernels/packed_row.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

constexpr std::int64_t kPageBytes = 4096;

/// One dataset to read, and what becomes of its rows.
struct LoadTask {
  std::string name;
  RowRange read;                ///< all rows where the checksum is to be verified
  RowRange pack;                ///< inside `read`: these go to panels
  std::byte* panels = nullptr;  ///< of row pack.begin
  std::byte* rows = nullptr;    ///< if set: all rows are kept as stored, from row 0
};

std::int64_t row_bytes_of(const DatasetInfo& data) {
  return data.bytes / data.rows();
}

/// Rows of a slice: whole panels, as many as kSliceBytes holds.
std::int64_t slice_rows(const DatasetInfo& data) {
  return std::max<std::int64_t>(1, kSliceBytes / (row_bytes_of(data) * kPanelRows)) * kPanelRows;
}

std::int64_t slice_bytes(const DatasetInfo& data) {
  return std::min(data.rows(), slice_rows(data)) * row_bytes_of(data);
}

/// "0" on a host with one memory node, "0-1" or "0,2" with more.
bool has_several_memory_nodes() {
  std::string online;
  std::getline(std::ifstream("/sys/devices/system/node/online"), online);
  return online.find_first_of("-,") != std::string::npos;
}

class WeightLoader {
 public:
  WeightLoader(const CheckpointIndex& index, const RankPart& part, TensorReader& reader,
               const ThreadTeam& team, const LoadProgress& progress)
      : index_(index),
        config_(index.config),
        part_(part),
        reader_(reader),
        team_(team),
        progress_(progress) {}

  RankWeights load() {
    plan_tasks();
    if (team_.size() > 1 && has_several_memory_nodes()) place_pages();
    run_tasks();
    assemble_sections();
    return std::move(weights_);
  }

 private:
  const DatasetInfo& info(const std::string& name) const {
    const auto found = index_.datasets.find(name);
    if (found == index_.datasets.end()) throw CheckpointError(index_.path, name, "dataset is missing");
    return found->second;
  }

  /// Embedding and head come first: they are the largest, and while one thread has them the others share the
  /// rest. In memory they are last.
  void plan_tasks() {
    const std::vector<std::string> names = matrix_names(index_, part_);
    const DatasetInfo& head = info(head_name(config_));
    std::int64_t packed = packed_bytes(head.format, head_rows(config_, part_).count(), head.columns());
    for (const std::string& name : names)
      packed += packed_bytes(info(name).format, info(name).rows(), info(name).columns());
    weights_.arena = AlignedBuffer<std::byte>(static_cast<std::size_t>(packed), false);
    for (const std::string& name : names) {
      const RowRange all{0, info(name).rows()};
      tasks_.push_back({name, all, all});
      packed_[place_of(info(name))] = take_panels(tasks_.back());
    }
    const auto matrices = static_cast<std::ptrdiff_t>(tasks_.size());
    plan_embedding_and_head();
    std::rotate(tasks_.begin(), tasks_.begin() + matrices, tasks_.end());
    for (const LoadTask& task : tasks_) total_ += task.read.count() * row_bytes_of(info(task.name));
  }

  /// A dataset that serves for both is read once. The last rank reads the whole head, so that its checksum is
  /// verified once a replica; the others read their rows.
  void plan_embedding_and_head() {
    const RowRange all{0, config_.vocab_size}, own = head_rows(config_, part_);
    const bool embeds = needs_embedding(config_, part_), tied = config_.tie_word_embeddings;
    LoadTask table{kEmbeddingName, all, {}};
    LoadTask head{head_name(config_), part_.hosts_last(config_) || (tied && embeds) ? all : own, own};
    if (keeps_embedding_rows(config_, part_)) (tied ? head : table).rows = take_rows();
    if (own.count() > 0) weights_.head = take_panels(head);
    if (embeds && !keeps_embedding_rows(config_, part_)) weights_.embedding.panels = weights_.head;
    if (embeds && !tied) tasks_.push_back(table);
    if (head.read.count() > 0) tasks_.push_back(head);
  }

  std::byte* take_rows() {
    const DatasetInfo& table = info(kEmbeddingName);
    EmbeddingWeights& embedding = weights_.embedding;
    embedding.format = table.format;
    embedding.columns = table.columns();
    embedding.row_bytes = row_bytes_of(table);
    embedding.rows = AlignedBuffer<std::byte>(static_cast<std::size_t>(table.bytes), false);
    return embedding.rows.data();
  }

  PackedMatrix take_panels(LoadTask& task) {
    const DatasetInfo& data = info(task.name);
    task.panels = weights_.arena.data() + used_;
    used_ += packed_bytes(data.format, task.pack.count(), data.columns());
    STAG_CHECK(used_ <= static_cast<std::int64_t>(weights_.arena.bytes()), used_, weights_.arena.bytes());
    return {data.format, task.pack.count(), data.columns(), task.panels};
  }

  /// A page belongs to the memory node of the thread that touches it first. Products give every thread its
  /// share of the panels: the same threads touch the same shares here.
  void place_pages() {
    team_.run(total_, [&](Worker& worker) {
      for (const LoadTask& task : tasks_) {
        const DatasetInfo& data = info(task.name);
        const auto [begin, end] = worker.share(PackedMatrix{data.format, task.pack.count()}.panels());
        const std::int64_t panel = packed_panel_bytes(data.format, data.columns());
        for (std::int64_t at = begin * panel; at < end * panel; at += kPageBytes)
          task.panels[at] = std::byte{0};
      }
    });
  }

  void run_tasks() {
    std::int64_t largest = 0;
    for (const LoadTask& task : tasks_)
      if (!task.rows) largest = std::max(largest, slice_bytes(info(task.name)));
    team_.run(total_, [&](Worker&) {
      AlignedBuffer<std::byte> room(static_cast<std::size_t>(largest), false);
      for (std::size_t i; !failed_ && (i = next_task_++) < tasks_.size();) run_task(tasks_[i], room.data());
    });
  }

  void run_task(const LoadTask& task, std::byte* room) {
    try {
      load_rows(task, room);
    } catch (...) {
      failed_ = true;  // the other threads stop at their next slice
      throw;
    }
  }

  /// Damage is reported as a wrong checksum where there is one to tell, and as a value otherwise.
  void load_rows(const LoadTask& task, std::byte* room) {
    DatasetStream stream(index_, reader_, task.name, task.read.begin, task.read.end);
    const DatasetInfo& data = stream.info();
    std::int64_t bad = -1;
    while (stream.row() < task.read.end && !failed_) {
      const std::int64_t first = stream.row(), count = next_rows(task, data, first);
      std::byte* stored = task.rows ? task.rows + first * stream.row_bytes() : room;
      stream.read(count, stored);
      if (bad < 0) {
        const std::int64_t row = first_non_finite_row(data.format, count, data.columns(), stored);
        if (row >= 0) bad = first + row;
      }
      if (first >= task.pack.begin && first < task.pack.end) pack_rows(task, data, first, count, stored);
      advance(count * stream.row_bytes());
    }
    if (bad >= 0)
      throw CheckpointError(path_of_file(index_, data.file), task.name,
                            "a weight in row " + std::to_string(bad) + " is not finite");
  }

  /// Slices begin and end with the rows to pack, and are whole panels between.
  static std::int64_t next_rows(const LoadTask& task, const DatasetInfo& data, std::int64_t first) {
    const std::int64_t end = first < task.pack.begin ? task.pack.begin
                             : first < task.pack.end ? task.pack.end
                                                     : task.read.end;
    return std::min(slice_rows(data), end - first);
  }

  static void pack_rows(const LoadTask& task, const DatasetInfo& data, std::int64_t first, std::int64_t count,
                        const std::byte* stored) {
    const std::int64_t panel = (first - task.pack.begin) / kPanelRows;
    pack_panels(data.format, count, data.columns(), stored, 0, (count + kPanelRows - 1) / kPanelRows,
                task.panels + panel * packed_panel_bytes(data.format, data.columns()));
  }

  void advance(std::int64_t bytes) {
    if (!progress_) return;
    const std::lock_guard lock(progress_mutex_);
    done_ += bytes;
    progress_(done_, total_);
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
    w.q_norm = optional_vector(prefix + "q_norm/weight");
    w.k_norm = optional_vector(prefix + "k_norm/weight");
    return w;
  }

  LayerWeights layer(int section, int number) {
    const std::string prefix = layer_prefix(section, number);
    LayerWeights w;
    w.self_attention = attention(prefix + "self_attention/");
    if (config_.has_cross_attention(section, number))
      w.cross_attention = attention(prefix + "cross_attention/");
    w.feed_forward.norm = reader_.read_vector(prefix + "feed_forward/norm/weight");
    w.feed_forward.gate = matrix(prefix + "feed_forward/gate/weight");
    w.feed_forward.up = matrix(prefix + "feed_forward/up/weight");
    w.feed_forward.down = matrix(prefix + "feed_forward/down/weight");
    return w;
  }

  void assemble_sections() {
    for (int s = part_.first_section; s < part_.first_section + part_.sections; ++s) {
      SectionWeights section;
      for (int l = 0; l < config_.sections.layers_per_section[static_cast<std::size_t>(s)]; ++l)
        section.layers.push_back(layer(s, l));
      if (config_.has_memory(s) && config_.sections.cross_attention.memory_norm)
        section.memory_norm = reader_.read_vector("sections/" + std::to_string(s) + "/memory_norm/weight");
      weights_.sections.push_back(std::move(section));
    }
    weights_.final_norm = reader_.read_vector("final_norm/weight");
    if (config_.sections.readout == Readout::linear_combination)
      weights_.readout_coefficients = reader_.read_vector("readout/coefficients");
  }

  const CheckpointIndex& index_;
  const ModelConfig& config_;
  const RankPart& part_;
  TensorReader& reader_;
  const ThreadTeam& team_;
  const LoadProgress& progress_;
  RankWeights weights_;
  std::vector<LoadTask> tasks_;
  std::map<Place, PackedMatrix> packed_;
  std::int64_t used_ = 0;  // of the arena
  std::atomic<std::size_t> next_task_{0};
  std::atomic<bool> failed_{false};
  std::mutex progress_mutex_;  // guards done_ and calls of progress_
  std::int64_t done_ = 0, total_ = 0;
};

}  // namespace

void EmbeddingWeights::look_up(std::int64_t token, float* out) const {
  if (rows.size() == 0) return dequantize_packed_row(panels, token, out);
  dequantize_row(format, columns, rows.data() + token * row_bytes, out);
}

RankWeights load_weights(const CheckpointIndex& index, const RankPart& part, TensorReader& reader,
                         const ThreadTeam& team, const LoadProgress& progress) {
  return WeightLoader(index, part, reader, team, progress).load();
}

std::int64_t staging_bytes(const CheckpointIndex& index, const RankPart& part, int threads) {
  std::vector<std::string> names = matrix_names(index, part);
  names.push_back(head_name(index.config));
  std::int64_t largest = 0;
  for (const std::string& name : names) largest = std::max(largest, slice_bytes(index.datasets.at(name)));
  return largest * std::max(1, threads);
}

}  // namespace stagformer::internal
