// Speed of the kernels on one thread: GFLOP/s, and GB/s of weights read. `--level=N` restricts the
// instruction set.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "kernels/blas.hpp"
#include "kernels/kernels.hpp"
#include "model/kv_cache.hpp"
#include "unit/kernels/kernel_data.hpp"

namespace stagformer::internal {
namespace {

// As many copies of one matrix as exceed the last-level cache's share, walked in turn, as a model's layers
// are.
struct Weights {
  TestMatrix one;
  AlignedBuffer<std::byte> copies;
  std::vector<PackedMatrix> views;

  Weights(NumberFormat format, std::int64_t rows, std::int64_t columns, std::int64_t count)
      : one(format, rows, columns, 1), copies(one.packed.size() * static_cast<std::size_t>(count), false) {
    for (std::int64_t i = 0; i < count; ++i) {
      std::byte* copy = copies.data() + static_cast<std::size_t>(i) * one.packed.size();
      std::memcpy(copy, one.packed.data(), one.packed.size());
      views.push_back({format, rows, columns, copy});
    }
  }
};

void bench_matmul(benchmark::State& state, NumberFormat format, std::int64_t rows, std::int64_t columns,
                  MatmulKernels kernels) {
  const std::int64_t batch = state.range(0), count = state.range(1);
  const Weights weights(format, rows, columns, count);
  const std::vector<float> x = random_values(columns * batch, 2);
  AlignedBuffer<float> y(static_cast<std::size_t>(batch * (rows + kPanelRows - 1)));
  const std::int64_t stride = weights.views[0].panels() * kPanelRows;
  use_matmul_kernels(kernels);
  const std::int64_t row_bytes = quantized_row_bytes(columns);
  AlignedBuffer<std::byte> quantized(static_cast<std::size_t>(batch * row_bytes));
  if (wants_quantized(weights.views[0]))
    for (std::int64_t b = 0; b < batch; ++b)
      quantize_activations(x.data() + b * columns, 0, columns / kBlockValues, columns,
                           quantized.data() + b * row_bytes);
  const Activations inputs{x.data(), columns, quantized.data(), row_bytes};
  for (auto _ : state)
    for (const PackedMatrix& w : weights.views) matmul(w, inputs, batch, y.data(), stride, 0, w.panels());
  use_matmul_kernels(MatmulKernels::native);
  const auto products = static_cast<double>(state.iterations() * count);
  const auto flops = 2.0 * static_cast<double>(rows * columns * batch);
  state.counters["GFLOP/s"] = benchmark::Counter(products * flops * 1e-9, benchmark::Counter::kIsRate);
  const auto bytes = static_cast<double>(weights.one.packed.size());
  state.counters["GB/s"] = benchmark::Counter(products * bytes * 1e-9, benchmark::Counter::kIsRate);
}

// Decode: a group of query heads that share the key/value head, over the caches of many heads in turn.
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

void bench_pack(benchmark::State& state, NumberFormat format) {
  TestMatrix w(format, 1536, 576, 1);
  for (auto _ : state) pack_panels(format, 1536, 576, w.stored.data(), 0, w.view.panels(), w.packed.data());
  const auto bytes = static_cast<double>(state.iterations()) * static_cast<double>(w.stored.size());
  state.counters["GB/s"] = benchmark::Counter(bytes * 1e-9, benchmark::Counter::kIsRate);
}

void register_all() {
  for (const NumberFormat format : kAllFormats) {
    const std::string name = name_of(format);
    for (const auto& [rows, columns] : {std::pair{1536, 576}, std::pair{576, 1536}})
      for (const auto kernels : {MatmulKernels::native, MatmulKernels::blas}) {
        const std::string kind = kernels == MatmulKernels::native ? "native" : "blas";
        auto* bench = benchmark::RegisterBenchmark(
            (kind + "/" + name + "/" + std::to_string(rows) + "x" + std::to_string(columns)).c_str(),
            bench_matmul, format, rows, columns, kernels);
        for (const int batch : {1, 2, 4, 8, 16, 64, 512})
          if (kernels == MatmulKernels::native || batch >= 16) bench->Args({batch, 30});
        if (kernels == MatmulKernels::native) bench->Args({1, 1})->Args({1, 300});
      }
    benchmark::RegisterBenchmark(("pack/" + name).c_str(), bench_pack, format);
  }
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
