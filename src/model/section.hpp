// One section: a stack of layers with its weights and caches. docs/design.md has the formulas.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "base/phase_clock.hpp"
#include "base/thread_team.hpp"
#include "model/kv_cache.hpp"
#include "model/rope_table.hpp"
#include "model/weights.hpp"
#include "stagformer/config.hpp"

namespace stagformer::internal {

/// One position of one sequence; a batch is a list of rows, at most one list entry a (slot, position).
struct Row {
  int slot = 0;               ///< which cache
  std::int64_t position = 0;  ///< from 0
};

/// How much a section must hold.
struct SectionCapacity {
  int slots = 1;             ///< sequences at a time
  std::int64_t context = 0;  ///< positions a sequence
  std::int64_t rows = 1;     ///< most rows of one call
  int memory_banks = 1;  ///< 2 where recurrent decoding keeps the section's own outputs beside the upstream's
};

/// Called between layers: the place to move pending messages on.
class LayerHook {
 public:
  virtual ~LayerHook() = default;
  virtual void between_layers() = 0;
};

/// What the sections of a rank share while they compute.
struct Workshop {
  const ModelConfig& config;
  const RopeTable& rope;
  const ThreadTeam& team;
  PhaseClock& clock;
  LayerHook* hook = nullptr;
};

/// Scratch for one section at a time, allocated once for the largest batch. Strides are whole panels.
class SectionScratch {
 public:
  SectionScratch(const ModelConfig& config, std::int64_t rows);
  static std::int64_t bytes(const ModelConfig& config, std::int64_t rows);

  std::int64_t d_stride, head_stride, kv_stride, f_stride;
  AlignedBuffer<float> normed;       ///< [rows, d_stride]
  AlignedBuffer<float> q, attended;  ///< [rows, head_stride], H*a used
  AlignedBuffer<float> k, v;         ///< [rows, kv_stride], G*a used
  AlignedBuffer<float> projected;    ///< [rows, d_stride]
  AlignedBuffer<float> gate, up;     ///< [rows, f_stride]
};

class Section {
 public:
  /// `index` counts from 0. The weights must outlive the section.
  Section(const ModelConfig& config, int index, const SectionWeights& weights,
          const SectionCapacity& capacity);

  /// Bytes that the caches of such a section take.
  static std::int64_t cache_bytes(const ModelConfig& config, int index, const SectionCapacity& capacity);

  int index() const { return index_; }
  bool has_memory() const { return has_memory_; }

  /// Runs all layers over the rows, in place: u [rows.size(), u_stride], d values a row. Rows of one sequence
  /// come in ascending positions without gaps. Memory of every position that a row looks at must have been
  /// absorbed.
  void run(Workshop& shop, SectionScratch& scratch, std::span<const Row> rows, float* u,
           std::int64_t u_stride, int memory_bank);

  /// Projects upstream outputs y [rows.size(), y_stride] to every layer's cross-attention keys and values.
  void absorb_memory(Workshop& shop, SectionScratch& scratch, std::span<const Row> rows, const float* y,
                     std::int64_t y_stride, int memory_bank);

 private:
  struct MemoryRange {
    std::int64_t begin, end;  // positions [begin, end)
  };
  MemoryRange memory_range(std::int64_t position) const;

  void self_attention(Workshop& shop, SectionScratch& scratch, std::span<const Row> rows, float* u,
                      std::int64_t u_stride, std::size_t layer);
  void cross_attention(Workshop& shop, SectionScratch& scratch, std::span<const Row> rows, float* u,
                       std::int64_t u_stride, std::size_t layer, int memory_bank);
  void feed_forward(Workshop& shop, SectionScratch& scratch, std::span<const Row> rows, float* u,
                    std::int64_t u_stride, std::size_t layer);

  int index_;
  bool has_memory_;
  bool single_position_;  // window 1: no queries, no keys
  std::int64_t window_;   // positions; the context's length where there is none
  const SectionWeights& weights_;
  std::vector<KvCache> self_caches_;                 // [layer]
  std::vector<std::vector<KvCache>> memory_caches_;  // [bank][layer]; empty caches where a layer has no block
};

}  // namespace stagformer::internal
