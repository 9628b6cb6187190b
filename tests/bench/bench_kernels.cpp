// Speed of the kernels on one thread: GFLOP/s, and GB/s of weights read. `--level=N` restricts the
// instruction set.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "kernels/blas.hpp"
#include "kernels/kernels.hpp"
#include "kernels/machine_speed.hpp"
#include "model/kv_cache.hpp"
#include "unit/kernels/kernel_data.hpp"

namespace stagformer::internal {
namespace {

// Copies of one matrix, walked in turn as a model's layers are: many, or few that a cache holds.
struct Weights {
  TestMatrix one;
  AlignedBuffer<std::byte> copies;
  std::vector<PackedMatrix> views;

  Weights(NumberFormat format, std::int64_t rows, std::int64_t columns, std::int64_t mebibytes)
      : one(format, rows, columns, 1) {
    const auto size = static_cast<std::int64_t>(one.packed.size());
    const std::int64_t count = std::max<std::int64_t>(1, (mebibytes << 20) / size);
    copies = AlignedBuffer<std::byte>(static_cast<std::size_t>(size * count), false);
    for (std::int64_t i = 0; i < count; ++i) {
      std::byte* copy = copies.data() + static_cast<std::size_t>(i) * one.packed.size();
      std::memcpy(copy, one.packed.data(), one.packed.size());
      views.push_back({format, rows, columns, copy});
    }
  }
};

void count_rates(benchmark::State& state, double bytes, double flops) {
  const auto rounds = static_cast<double>(state.iterations()) * 1e-9;
  state.counters["GB/s"] = benchmark::Counter(rounds * bytes, benchmark::Counter::kIsRate);
  if (flops > 0) state.counters["GFLOP/s"] = benchmark::Counter(rounds * flops, benchmark::Counter::kIsRate);
}

struct MatmulBench {
  NumberFormat format;
  std::int64_t rows, columns;
  MatmulKernels kernels = MatmulKernels::native;
  ActivationFormat activations = ActivationFormat::int8;
};

/// Arguments: rows of x, MiB of weights.
void bench_matmul(benchmark::State& state, MatmulBench bench) {
  const std::int64_t batch = state.range(0), columns = bench.columns;
  const Weights weights(bench.format, bench.rows, columns, state.range(1));
  const PackedMatrix& first = weights.views[0];
  const std::vector<float> x = random_values(columns * batch, 2);
  const std::int64_t stride = first.panels() * kPanelRows, row_bytes = quantized_row_bytes(columns);
  AlignedBuffer<float> y(static_cast<std::size_t>(batch * stride));
  AlignedBuffer<std::byte> quantized(static_cast<std::size_t>(batch * row_bytes));
  if (is_block_format(bench.format))
    for (std::int64_t b = 0; b < batch; ++b)
      quantize_activations(x.data() + b * columns, 0, columns / kBlockValues, columns,
                           quantized.data() + b * row_bytes);
  const Activations inputs{x.data(), columns, quantized.data(), row_bytes};
  use_matmul_kernels(bench.kernels);
  use_activations(bench.activations);
  for (auto _ : state)
    for (const PackedMatrix& w : weights.views) matmul(w, inputs, batch, y.data(), stride, 0, w.panels());
  use_matmul_kernels(MatmulKernels::native);
  use_activations(ActivationFormat::int8);
  const auto products = static_cast<double>(weights.views.size());
  count_rates(state, static_cast<double>(weights.copies.size()),
              2 * products * static_cast<double>(bench.rows * columns * batch));
}

/// The same bytes as a product's weights, read and added up: what memory gives. Argument: MiB.
void bench_read(benchmark::State& state, NumberFormat format) {
  const Weights weights(format, 1536, 576, state.range(0));
  const std::int64_t floats = static_cast<std::int64_t>(weights.copies.size() / 4) / kReadStep * kReadStep;
  for (auto _ : state) read_all(reinterpret_cast<const float*>(weights.copies.data()), floats);
  count_rates(state, static_cast<double>(floats) * 4, 0);
}

void bench_quantize(benchmark::State& state) {
  const std::int64_t columns = state.range(0);
  const std::vector<float> x = random_values(columns, 1);
  AlignedBuffer<std::byte> row(static_cast<std::size_t>(quantized_row_bytes(columns)));
  for (auto _ : state) quantize_activations(x.data(), 0, columns / kBlockValues, columns, row.data());
  count_rates(state, static_cast<double>(columns) * 4, 0);
}

void bench_attend(benchmark::State& state, CacheFormat format) {
  const std::int64_t head_dim = 64, group = state.range(0), positions = state.range(1),
                     heads = state.range(2);
  KvCache cache(1, heads, positions, head_dim, true, format);
  const std::vector<float> q = random_values(head_dim * group, 1), k = random_values(head_dim * positions, 2);
  for (std::int64_t head = 0; head < heads; ++head)
    for (std::int64_t j = 0; j < positions; ++j) {
      cache.store_key(0, head, j, k.data() + j * head_dim);
      cache.store_value(0, head, j, k.data() + j * head_dim);
    }
  const std::int64_t stride = attention_partial_floats(head_dim);
  std::vector<float> partials(static_cast<std::size_t>(group * stride));
  std::vector<const float*> queries;
  std::vector<float*> results;
  for (std::int64_t i = 0; i < group; ++i) {
    queries.push_back(q.data() + i * head_dim);
    results.push_back(partials.data() + i * stride);
  }
  const std::vector<PositionRange> ranges(queries.size(), {0, positions});
  for (auto _ : state)
    for (std::int64_t head = 0; head < heads; ++head)
      for (std::int64_t c = 0; c < chunks_of(ranges[0]).last; ++c)
        attend_chunk(cache.span(0, head), head_dim, 0.125f, c, queries.data(), ranges.data(), group,
                     results.data());
  const auto passes = static_cast<double>(state.iterations());
  const auto bytes = static_cast<double>(KvCache::bytes(1, heads, positions, head_dim, true, format));
  const auto products = 4.0 * static_cast<double>(group * heads * positions * head_dim);
  state.counters["GB/s"] = benchmark::Counter(passes * bytes * 1e-9, benchmark::Counter::kIsRate);
  state.counters["GFLOP/s"] = benchmark::Counter(passes * products * 1e-9, benchmark::Counter::kIsRate);
}

void bench_rms_norm(benchmark::State& state) {
  const std::vector<float> x = random_values(576, 1), w = random_values(576, 2);
  std::vector<float> out(576);
  for (auto _ : state) rms_norm(x.data(), w.data(), 576, 1e-5f, out.data());
}

void bench_gated(benchmark::State& state) {
  std::vector<float> gate = random_values(1536, 1);
  const std::vector<float> up(1536, 0.99f);
  for (auto _ : state) gated_activation(Activation::silu, gate.data(), up.data(), 1536);
}

void bench_block_sum(benchmark::State& state) {
  const std::vector<float> logits = random_values(1024, 1);
  for (auto _ : state) benchmark::DoNotOptimize(block_sum(logits.data(), 1024, 1.0f));
}

void bench_argmax(benchmark::State& state) {
  const std::vector<float> logits = random_values(49152, 1);
  for (auto _ : state) benchmark::DoNotOptimize(argmax(logits.data(), 49152));
}

/// GB/s of stored bytes, from and to memory as while loading: a matrix of 64 MiB in f32.
void bench_pack(benchmark::State& state, NumberFormat format) {
  TestMatrix w(format, 16384, 1024, 1);
  for (auto _ : state) pack_panels(format, 16384, 1024, w.stored.data(), 0, w.view.panels(), w.packed.data());
  count_rates(state, static_cast<double>(w.stored.size()), 0);
}

/// 128 MiB are more than a core's share of any cache, 8 MiB are not.
void register_products(NumberFormat format) {
  const std::string name = name_of(format);
  benchmark::RegisterBenchmark(("read/" + name).c_str(), bench_read, format)->Arg(128)->Arg(8);
  for (const auto& [rows, columns] : {std::pair{1536, 576}, std::pair{576, 1536}}) {
    const std::string shape = name + "/" + std::to_string(rows) + "x" + std::to_string(columns);
    const MatmulBench native{format, rows, columns};
    auto* bench = benchmark::RegisterBenchmark(("native/" + shape).c_str(), bench_matmul, native);
    for (const int batch : {1, 2, 4, 8, 16, 64, 512}) bench->Args({batch, 128});
    bench->Args({1, 8})->Args({512, 8});
    const MatmulBench blas{format, rows, columns, MatmulKernels::blas};
    benchmark::RegisterBenchmark(("blas/" + shape).c_str(), bench_matmul, blas)->Args({512, 8});
    const MatmulBench exact{format, rows, columns, MatmulKernels::native, ActivationFormat::f32};
    if (is_block_format(format))
      benchmark::RegisterBenchmark(("exact/" + shape).c_str(), bench_matmul, exact)
          ->Args({1, 128})
          ->Args({8, 128})
          ->Args({512, 8});
  }
  benchmark::RegisterBenchmark(("pack/" + name).c_str(), bench_pack, format);
}

void register_all() {
  for (const NumberFormat format : kAllFormats) register_products(format);
  benchmark::RegisterBenchmark("quantize", bench_quantize)->Arg(576)->Arg(1536);
  for (const CacheFormat format : {CacheFormat::f32, CacheFormat::bf16}) {
    auto* bench = benchmark::RegisterBenchmark(format == CacheFormat::f32 ? "attend/f32" : "attend/bf16",
                                               bench_attend, format);
    for (const int group : {1, 3, 96})  // 96: rows and heads of a prompt
      for (const int positions : {64, 256, 4096}) bench->Args({group, positions, 3 * 16384 / positions});
  }
  benchmark::RegisterBenchmark("rms_norm/576", bench_rms_norm);
  benchmark::RegisterBenchmark("gated_silu/1536", bench_gated);
  benchmark::RegisterBenchmark("block_sum/1024", bench_block_sum);
  benchmark::RegisterBenchmark("argmax/49152", bench_argmax);
}

}  // namespace
}  // namespace stagformer::internal

int main(int argc, char** argv) {
  using namespace stagformer::internal;
  for (int i = 1; i < argc; ++i)
    if (std::string(argv[i]).starts_with("--level=")) {
      use_instruction_set(std::atoi(argv[i] + 8));
      std::swap(argv[i], argv[--argc]);
      break;
    }
  register_all();
  benchmark::Initialize(&argc, argv);
  benchmark::AddCustomContext("blas core", blas_core_name());
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
