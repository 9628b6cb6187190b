// A decode step takes no memory: every allocation of the program is counted while steps run.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <vector>

#include "checkpoint/tensor_reader.hpp"
#include "comm/local_transport.hpp"
#include "pipeline/drafting.hpp"
#include "pipeline/engine.hpp"
#include "support/golden_file.hpp"

namespace {

std::atomic<bool> counting{false};
std::atomic<int> allocations{0};

void* counted(std::size_t bytes, std::size_t alignment) {
  if (counting.load(std::memory_order_relaxed)) ++allocations;
  const std::size_t whole = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, whole == 0 ? alignment : whole);
  if (!memory) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t bytes) {
  return counted(bytes, alignof(std::max_align_t));
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace stagformer::internal {
namespace {

/// Allocations of ten steps of `slots` sequences, after a prompt and two steps that may still take memory.
int allocations_of_steps(const std::string& name, int slots, int threads, float temperature) {
  const CheckpointIndex index = read_checkpoint_index(test::golden_checkpoint(name));
  int counted_allocations = -1;
  run_local_ranks(1, {}, [&](Transport& transport) {
    EngineOptions options;
    options.slots = slots;
    options.threads = threads;
    options.context = index.config.max_position_embeddings;
    const ThreadTeam team(threads, 0, true);
    const Grid grid = make_grid(1, index.config.sections.count);
    TensorReader reader(index, true);
    const RankModel model(index, rank_part(index.config, grid, 0, HeadMode::sliced), reader, team, {});
    Engine engine(transport, grid, model, options, team, 0, 4096);  // a trace takes none either
    std::vector<Row> rows(static_cast<std::size_t>(slots));
    std::vector<std::int32_t> tokens(rows.size(), 5);
    std::vector<ReadoutRow> readouts(rows.size());
    for (std::size_t b = 0; b < rows.size(); ++b) {
      readouts[b].row = static_cast<std::int32_t>(b);
      readouts[b].sampling.temperature = temperature;
    }
    for (std::int64_t step = 0; step < 12; ++step) {
      if (step == 2) counting = true;
      for (std::size_t b = 0; b < rows.size(); ++b) rows[b] = {static_cast<int>(b), step};
      engine.run_sections({rows, tokens, readouts, PassKind::exact});
      const ReadoutOutcome outcome = engine.read_out();
      for (std::size_t b = 0; b < rows.size(); ++b) tokens[b] = outcome.results[b].token;
    }
    counting = false;
    counted_allocations = allocations.exchange(0);
  });
  return counted_allocations;
}

/// The same of ten steps with guesses, all taken for right.
int allocations_of_drafts(const std::string& name, int slots, int threads) {
  constexpr int kGuesses = 3;
  const CheckpointIndex index = read_checkpoint_index(test::golden_checkpoint(name));
  int counted_allocations = -1;
  run_local_ranks(1, {}, [&](Transport& transport) {
    EngineOptions options;
    options.slots = slots;
    options.draft = kGuesses;
    options.context = 12;
    const ThreadTeam team(threads, 0, true);
    const Grid grid = make_grid(1, index.config.sections.count);
    TensorReader reader(index, true);
    const RankModel model(index, rank_part(index.config, grid, 0, HeadMode::sliced), reader, team, {});
    Engine engine(transport, grid, model, options, team, 0, 4096);  // a trace takes none either
    Drafter drafter(engine, transport, options);
    std::vector<DraftStart> starts(static_cast<std::size_t>(slots));
    std::vector<Row> rows(starts.size() * (kGuesses + 1));
    std::vector<std::int32_t> tokens(rows.size(), 5);
    std::vector<ReadoutRow> readouts(rows.size());
    for (std::size_t r = 0; r < rows.size(); ++r) readouts[r].row = static_cast<std::int32_t>(r);
    for (int step = 0; step < 12; ++step) {
      if (step == 2) counting = true;
      const std::int64_t position = step % 2 * (kGuesses + 1);
      for (int b = 0; b < slots; ++b)
        starts[static_cast<std::size_t>(b)] = {{b, position}, 5, {}, {}, kGuesses};
      const auto drafts = drafter.run(starts);
      for (std::size_t r = 0; r < rows.size(); ++r) {
        const std::size_t b = r / (kGuesses + 1), ahead = r % (kGuesses + 1);
        rows[r] = {static_cast<int>(b), position + static_cast<std::int64_t>(ahead)};
        if (ahead > 0) tokens[r] = drafts[b * kGuesses + ahead - 1];
      }
      engine.run_sections({rows, tokens, readouts, PassKind::exact});
      (void)engine.read_out();
    }
    counting = false;
    counted_allocations = allocations.exchange(0);
  });
  return counted_allocations;
}

TEST(Allocation, TheCounterSeesWhatIsTaken) {
  counting = true;
  { const std::vector<int> taken(100); }
  counting = false;
  EXPECT_EQ(allocations.exchange(0), 1);
}

TEST(Allocation, DecodeStepsTakeNoMemory) {
  for (const char* name : {"separate2", "shared3", "format_q4_1", "window1", "sections3_linear"})
    for (const float temperature : {0.0F, 0.8F}) {
      EXPECT_EQ(allocations_of_steps(name, 1, 1, temperature), 0) << name;
      EXPECT_EQ(allocations_of_steps(name, 3, 2, temperature), 0) << name << ", 3 sequences on 2 threads";
    }
}

TEST(Allocation, GuessesTakeNoMemory) {
  for (const char* name : {"separate2", "shared3", "format_q4_1", "shared_window1"}) {
    EXPECT_EQ(allocations_of_drafts(name, 1, 1), 0) << name;
    EXPECT_EQ(allocations_of_drafts(name, 3, 2), 0) << name << ", 3 sequences on 2 threads";
  }
}

}  // namespace
}  // namespace stagformer::internal
