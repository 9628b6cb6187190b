#include "model/attention_block.hpp"

#include <algorithm>
#include <cmath>

namespace stagformer::internal {
namespace {

std::int64_t group_of(const ModelConfig& config) {
  return config.num_attention_heads / config.num_key_value_heads;
}

float scale_of(const ModelConfig& config) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.head_dim)));
}

std::int64_t count_of(const ChunkRange& chunks) {
  return chunks.last - chunks.first;
}

/// In place, a head at a time: normalised where the model says so, then turned to its position.
void finish_heads(const ForwardContext& context, const std::vector<float>& norm, bool rotate,
                  std::int64_t position, float* x, std::int64_t heads) {
  const std::int64_t a = context.config.head_dim;
  if (!norm.empty())
    for (std::int64_t h = 0; h < heads; ++h)
      rms_norm(x + h * a, norm.data(), a, static_cast<float>(context.config.rms_norm_eps), x + h * a);
  if (rotate) rope(x, heads, a, context.rope.cos(position), context.rope.sin(position));
}

/// A run of batch items [begin, end) of one section and slot, and one key/value head.
struct Tile {
  std::int64_t begin, end, kv_head;
};

class Attention {
 public:
  Attention(const ForwardContext& context, const Batch& batch, const AttentionSource& source)
      : context_(context), config_(context.config), batch_(batch), source_(source) {}

  /// Few rows on several threads: chunks of positions are dealt out, partial results kept for merge_row().
  bool split() const {
    return context_.worker.size() > 1 &&
           batch_.size() * config_.num_key_value_heads < kSplitItems * context_.worker.size();
  }
  void attend_chunks() const;
  void merge_row(std::int64_t item, float* out) const;

  /// Many rows: tiles of rows that read the same cache are dealt out.
  void attend_tiles() const;

 private:
  PositionRange positions(std::int64_t item) const {
    return source_.positions(batch_.section(item), batch_.row(item).position);
  }
  CacheSpan span(std::int64_t item, std::int64_t kv_head) const {
    return source_.cache(batch_.section(item)).span(batch_.row(item).slot, kv_head);
  }
  float* partial(std::int64_t item, std::int64_t head, std::int64_t chunk) const {
    Scratch& scratch = context_.scratch;
    return scratch.partials.data() +
           ((item * config_.num_attention_heads + head) * scratch.chunks + chunk) * scratch.partial_floats;
  }
  void take_queries(const Tile& tile) const;
  void attend_chunk_of(const Tile& tile, std::int64_t chunk) const;
  void attend_tile(const Tile& tile) const;
  void tiles_of(std::int64_t begin, std::int64_t end, std::int64_t kv_head) const;

  const ForwardContext& context_;
  const ModelConfig& config_;
  const Batch& batch_;
  const AttentionSource& source_;
};

/// Copies the tile's queries, [rows][group][a], and finishes them.
void Attention::take_queries(const Tile& tile) const {
  WorkerScratch& own = context_.own();
  const std::int64_t a = config_.head_dim, group = group_of(config_);
  float* to = own.queries.data();
  std::size_t i = 0;
  for (std::int64_t b = tile.begin; b < tile.end; ++b) {
    const std::int64_t position = batch_.row(b).position;
    const float* from =
        context_.scratch.q.data() + b * context_.scratch.head_stride + tile.kv_head * group * a;
    std::copy_n(from, group * a, to);
    finish_heads(context_, source_.weights(batch_.section(b)).q_norm, source_.rotate, position, to, group);
    for (std::int64_t h = 0; h < group; ++h, ++i, to += a) {
      own.query_of[i] = to;
      own.range_of[i] = positions(b);
    }
  }
}

void Attention::attend_chunk_of(const Tile& tile, std::int64_t chunk) const {
  const WorkerScratch& own = context_.own();
  attend_chunk(span(tile.begin, tile.kv_head), config_.head_dim, scale_of(config_), chunk,
               own.query_of.data(), own.range_of.data(), (tile.end - tile.begin) * group_of(config_),
               own.partial_of.data());
}

void Attention::attend_chunks() const {
  const std::int64_t heads = config_.num_key_value_heads, group = group_of(config_);
  WorkerScratch& own = context_.own();
  std::int64_t total = 0;
  for (std::int64_t b = 0; b < batch_.size(); ++b) total += heads * count_of(chunks_of(positions(b)));
  const auto [begin, end] = context_.worker.share(total);
  std::int64_t first = 0;  // number of the (row, head)'s first chunk among all
  for (std::int64_t b = 0; b < batch_.size(); ++b)
    for (std::int64_t g = 0; g < heads; ++g) {
      const ChunkRange chunks = chunks_of(positions(b));
      const std::int64_t from = std::max(begin - first, std::int64_t{0});
      const std::int64_t to = std::min(end - first, count_of(chunks));
      first += count_of(chunks);
      if (from >= to) continue;
      const Tile tile{b, b + 1, g};
      take_queries(tile);
      for (std::int64_t c = from; c < to; ++c) {
        for (std::int64_t h = 0; h < group; ++h)
          own.partial_of[static_cast<std::size_t>(h)] = partial(b, g * group + h, c);
        attend_chunk_of(tile, chunks.first + c);
      }
    }
}

void Attention::merge_row(std::int64_t item, float* out) const {
  const std::int64_t count = count_of(chunks_of(positions(item)));
  for (std::int64_t head = 0; head < config_.num_attention_heads; ++head)
    merge_chunks(partial(item, head, 0), context_.scratch.partial_floats, count, config_.head_dim,
                 out + head * config_.head_dim);
}

void Attention::attend_tile(const Tile& tile) const {
  WorkerScratch& own = context_.own();
  Scratch& scratch = context_.scratch;
  const std::int64_t a = config_.head_dim, group = group_of(config_);
  take_queries(tile);
  // The last row's range ends last; a window's begins first at the first row.
  ChunkRange chunks = chunks_of(positions(tile.end - 1));
  chunks.first = std::min(chunks.first, chunks_of(positions(tile.begin)).first);
  const std::int64_t queries = (tile.end - tile.begin) * group, stride = scratch.partial_floats;
  for (std::int64_t c = 0; c < count_of(chunks); ++c) {
    for (std::int64_t i = 0; i < queries; ++i)
      own.partial_of[static_cast<std::size_t>(i)] = own.partials.data() + (i * scratch.chunks + c) * stride;
    attend_chunk_of(tile, chunks.first + c);
  }
  for (std::int64_t i = 0; i < queries; ++i)
    merge_chunks(own.partials.data() + i * scratch.chunks * stride, stride, count_of(chunks), a,
                 scratch.attended.values(tile.begin + i / group) + (tile.kv_head * group + i % group) * a);
}

/// Cuts [begin, end) where the section or the slot changes.
void Attention::tiles_of(std::int64_t begin, std::int64_t end, std::int64_t kv_head) const {
  while (begin < end) {
    std::int64_t stop = begin + 1;
    while (stop < end && batch_.row(stop).slot == batch_.row(begin).slot &&
           &batch_.section(stop) == &batch_.section(begin))
      ++stop;
    attend_tile({begin, stop, kv_head});
    begin = stop;
  }
}

/// Tiles are dealt in turn, as later rows of a prompt look at more positions.
void Attention::attend_tiles() const {
  const std::int64_t heads = config_.num_key_value_heads;
  const std::int64_t rows = std::max<std::int64_t>(1, kTileQueries / group_of(config_));
  const std::int64_t tiles = (batch_.size() + rows - 1) / rows;
  for (std::int64_t i = context_.worker.index(); i < tiles * heads; i += context_.worker.size())
    tiles_of(i / heads * rows, std::min(i / heads * rows + rows, batch_.size()), i % heads);
}

/// What the threads wrote to scratch.attended as an operand. fill(row, out) completes a row where it is not
/// there yet.
template <typename Fill>
Activations attended_operand(const ForwardContext& context, std::int64_t n, bool quantize, bool filled,
                             const Fill& fill) {
  context.worker.meet();
  Operand& shared = context.scratch.attended;
  if (n == 1) {
    Operand& own = context.own().row_of_heads;
    if (!filled) fill(0, own.values(0));
    if (quantize) own.quantize_from(filled ? shared.values(0) : own.values(0), 0);
    Activations view = own.view();
    if (filled) view.values = shared.values(0);
    return view;
  }
  if (filled && !quantize) return shared.view();
  const auto [begin, end] = context.worker.share(n);
  for (std::int64_t b = begin; b < end; ++b) {
    if (!filled) fill(b, shared.values(b));
    if (quantize) shared.quantize(b);
  }
  context.worker.meet();
  return shared.view();
}

}  // namespace

void store(const ForwardContext& context, const Batch& batch, const AttentionSource& source, float* keys,
           const float* values) {
  const std::int64_t a = context.config.head_dim, heads = context.config.num_key_value_heads;
  const auto [begin, end] = context.worker.share(batch.size() * heads);
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t b = i / heads, g = i % heads, at = b * context.scratch.kv_stride + g * a;
    const Row& row = batch.row(b);
    KvCache& cache = source.cache(batch.section(b));
    if (keys) {
      finish_heads(context, source.weights(batch.section(b)).k_norm, source.rotate, row.position, keys + at,
                   1);
      cache.store_key(row.slot, g, row.position, keys + at);
    }
    cache.store_value(row.slot, g, row.position, values + at);
  }
}

Activations attend(const ForwardContext& context, const Batch& batch, const AttentionSource& source,
                   bool quantize) {
  const Attention attention(context, batch, source);
  const bool split = attention.split();
  if (split)
    attention.attend_chunks();
  else
    attention.attend_tiles();
  return attended_operand(context, batch.size(), quantize, !split,
                          [&](std::int64_t item, float* out) { attention.merge_row(item, out); });
}

Activations copy_single_values(const ForwardContext& context, const Batch& batch,
                               const AttentionSource& source, bool quantize) {
  const std::int64_t heads = context.config.num_attention_heads, a = context.config.head_dim;
  const std::int64_t group = group_of(context.config);
  const auto copy = [&](std::int64_t item, float* out) {
    const Row& row = batch.row(item);
    const PositionRange range = source.positions(batch.section(item), row.position);
    for (std::int64_t head = 0; head < heads; ++head)
      if (range.begin >= range.end)
        std::fill_n(out + head * a, a, 0.0F);
      else
        source.cache(batch.section(item)).load_value(row.slot, head / group, range.begin, out + head * a);
  };
  return attended_operand(context, batch.size(), quantize, false, copy);
}

}  // namespace stagformer::internal
