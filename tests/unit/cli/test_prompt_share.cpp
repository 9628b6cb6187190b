// Sharing prompts between replicas: every prompt is run once, whatever the messages' delays; all ranks of a
// replica take the same ones; a replica with long prompts takes fewer; a stop and a silent replica end it.
#include "cli/prompt_share.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <future>
#include <mutex>
#include <numeric>
#include <thread>

#include "stagformer/error.hpp"
#include "support/rank_world.hpp"

namespace stagformer::test {
namespace {

using namespace internal;
using nlohmann::json;

struct Setting {
  int replicas = 2, ranks = 1, slots = 2;  ///< ranks of a replica
  LocalOptions messages = {};
  double step_s = 0;  ///< a step of the slow replica takes so much longer
  int slow = 0;
  std::function<bool(int rank, int step)> stop = {};     ///< is asked in every step and while waiting
  std::function<void(int rank, int step)> at_step = {};  ///< before it
};

struct Outcome {
  std::vector<std::vector<std::int64_t>> taken;  ///< by rank, in order
  std::vector<int> finished;                     ///< by rank
  std::vector<int> calls;                        ///< of take(), by rank
  std::vector<std::int64_t> results;             ///< on rank 0
};

std::vector<GenerationRequest> requests_of(const std::vector<int>& lengths) {
  std::vector<GenerationRequest> requests(lengths.size());
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    requests[i].index = static_cast<std::int64_t>(i);
    requests[i].max_tokens = lengths[i];
  }
  return requests;
}

/// One rank of the stand-in for a generator: a sequence is so many steps, and the ranks of a replica agree in
/// every step on whether to stop, as the engine's read-out does.
class Rank {
 public:
  Rank(Transport& world, const Setting& setting, const std::vector<GenerationRequest>& requests,
       Outcome& outcome)
      : world_(world), setting_(setting), requests_(requests), outcome_(outcome) {}

  void run() {
    const Grid grid{setting_.replicas * setting_.ranks, setting_.ranks, setting_.replicas};
    const auto me = static_cast<std::size_t>(world_.rank());
    replica_ = world_.split(grid.replica_of(world_.rank()));
    const PromptQueue queue(static_cast<std::int64_t>(requests_.size()), setting_.replicas, setting_.slots);
    ReplicaReports reports(
        world_, grid,
        {.on_result = [this](const json& index) { outcome_.results.push_back(index); },
         .stop_wanted = [this] { return setting_.stop && setting_.stop(world_.rank(), step_); }},
        queue);
    std::vector<const GenerationRequest*> all;
    for (const GenerationRequest& request : requests_) all.push_back(&request);
    PromptShare share(*replica_, reports, queue, all);
    for (auto& request : share.first(grid.replica_of(world_.rank()), setting_.replicas)) begin(request);
    const bool finished = work(reports, share);
    outcome_.finished[me] = reports.finish(finished);
  }

 private:
  bool work(ReplicaReports& reports, PromptShare& share) {
    bool more = true;
    for (; more || !running_.empty(); ++step_) {
      if (setting_.at_step) setting_.at_step(world_.rank(), step_);
      const GenerationLoad load = load_now();
      share.look_ahead(load);
      const bool stop = reports.step(load);
      if (more && load.free_slots > 0) {
        const Supply supply = share.take(static_cast<std::size_t>(load.free_slots), running_.empty());
        ++outcome_.calls[static_cast<std::size_t>(world_.rank())];
        if (running_.empty() && supply.stop) return false;
        for (const GenerationRequest& request : supply.requests) begin(request);
        more = supply.more;
      }
      if (!running_.empty() && step(reports, stop)) return false;
    }
    return true;
  }

  bool step(ReplicaReports& reports, bool stop) {
    if (world_.rank() / setting_.ranks == setting_.slow && setting_.step_s > 0)
      std::this_thread::sleep_for(std::chrono::duration<double>(setting_.step_s));
    for (auto& [index, left] : running_)
      if (--left == 0 && reports.leads()) {
        if (reports.is_root())
          outcome_.results.push_back(index);
        else
          reports.send(index);
      }
    std::erase_if(running_, [](const auto& sequence) { return sequence.second == 0; });
    const auto stops = replica_->all_gather(Bytes(1, std::byte(stop)));
    return std::ranges::any_of(stops, [](const Bytes& one) { return one[0] != std::byte{0}; });
  }

  void begin(const GenerationRequest& request) {
    ASSERT_LT(running_.size(), static_cast<std::size_t>(setting_.slots));
    running_.emplace_back(request.index, request.max_tokens);
    outcome_.taken[static_cast<std::size_t>(world_.rank())].push_back(request.index);
  }

  GenerationLoad load_now() const {
    GenerationLoad load;
    load.free_slots = setting_.slots - static_cast<int>(running_.size());
    for (const auto& [index, left] : running_) load.ending += left <= 2;
    return load;
  }

  Transport& world_;
  const Setting& setting_;
  const std::vector<GenerationRequest>& requests_;
  Outcome& outcome_;
  std::unique_ptr<Transport> replica_;
  std::vector<std::pair<std::int64_t, std::int64_t>> running_;  // index, steps to go
  int step_ = 0;
};

Outcome share(const Setting& setting, const std::vector<int>& lengths) {
  const auto ranks = static_cast<std::size_t>(setting.replicas * setting.ranks);
  const std::vector<GenerationRequest> requests = requests_of(lengths);
  Outcome outcome{std::vector<std::vector<std::int64_t>>(ranks),
                  std::vector<int>(ranks, -1),
                  std::vector<int>(ranks),
                  {}};
  for_each_rank(
      static_cast<int>(ranks), [&](Transport& world) { Rank(world, setting, requests, outcome).run(); },
      setting.messages);
  return outcome;
}

/// What the leaders took, sorted.
std::vector<std::int64_t> all_taken(const Setting& setting, const Outcome& outcome) {
  std::vector<std::int64_t> all;
  for (std::size_t r = 0; r < outcome.taken.size(); r += static_cast<std::size_t>(setting.ranks))
    all.insert(all.end(), outcome.taken[r].begin(), outcome.taken[r].end());
  std::ranges::sort(all);
  return all;
}

std::vector<std::int64_t> first_numbers(std::size_t count) {
  std::vector<std::int64_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

TEST(PromptShare, EveryPromptIsRunOnceByAllRanksOfOneReplica) {
  const LocalOptions late{.random_delay_us = 300, .seed = 3};
  for (const int prompts : {0, 1, 3, 8, 9, 40}) {
    std::vector<int> lengths;
    for (int i = 0; i < prompts; ++i) lengths.push_back(1 + i * 7 % 11);
    for (const Setting& setting : {Setting{2, 1, 2}, Setting{2, 2, 1}, Setting{3, 2, 3}, Setting{4, 1, 1},
                                   Setting{2, 3, 2, late}, Setting{3, 1, 1, late}}) {
      Outcome outcome = share(setting, lengths);
      const std::vector<std::int64_t> each_once = first_numbers(lengths.size());
      EXPECT_EQ(all_taken(setting, outcome), each_once) << setting.replicas << " x " << setting.ranks;
      std::ranges::sort(outcome.results);
      EXPECT_EQ(outcome.results, each_once);
      for (std::size_t r = 0; r < outcome.taken.size(); ++r) {
        EXPECT_EQ(outcome.taken[r], outcome.taken[r - r % static_cast<std::size_t>(setting.ranks)]);
        EXPECT_EQ(outcome.finished[r], 1);
      }
    }
  }
}

TEST(PromptShare, AReplicaWithALongPromptKeepsNobodyWaiting) {
  std::vector<int> lengths(41, 5);
  lengths[0] = 4000;  // the first of replica 0
  const Setting setting{.replicas = 2, .ranks = 2, .slots = 1, .step_s = 0.0005};
  const Outcome outcome = share(setting, lengths);
  EXPECT_EQ(outcome.taken[0], std::vector<std::int64_t>{0});
  EXPECT_EQ(outcome.taken[2].size(), 40U);
}

TEST(PromptShare, ASlowReplicaTakesFewer) {
  const Setting setting{.replicas = 3, .slots = 2, .step_s = 0.01};
  const Outcome outcome = share(setting, std::vector<int>(120, 4));
  EXPECT_LT(outcome.taken[0].size(), 40U);
  EXPECT_GT(outcome.taken[0].size(), 0U);
}

// A plain step, all slots taken, has no message inside the replica; where slots are free there are few.
TEST(PromptShare, NothingIsExchangedInPlainSteps) {
  const Setting setting{.replicas = 2, .ranks = 2, .slots = 2};
  const Outcome outcome = share(setting, std::vector<int>(13, 2000));
  for (const int calls : outcome.calls) EXPECT_LT(calls, 1000);  // of about 8000 steps
}

TEST(PromptShare, AnybodysSignalStopsAllReplicasWhereverTheyAre) {
  for (int rank = 0; rank < 4; ++rank) {
    Setting setting{.replicas = 2, .ranks = 2, .slots = 1};
    setting.stop = [rank](int asked, int step) { return asked == rank && step >= 20; };
    const Outcome outcome = share(setting, std::vector<int>(2000, 6));
    EXPECT_LT(all_taken(setting, outcome).size(), 2000U);
    for (const int finished : outcome.finished) EXPECT_EQ(finished, 0) << "signal to rank " << rank;
  }
}

// Replica 1 has nothing left after its first prompt and waits for replica 0, whose prompt is long.
TEST(PromptShare, ASignalToARankThatWaitsStopsTheOthers) {
  for (const int rank : {2, 3}) {
    const auto begin = std::chrono::steady_clock::now();
    Setting setting{.replicas = 2, .ranks = 2, .slots = 1, .step_s = 0.001};
    setting.stop = [rank, begin](int asked, int) {
      return asked == rank && std::chrono::steady_clock::now() - begin > std::chrono::milliseconds(100);
    };
    const Outcome outcome = share(setting, {1000000, 2});
    for (const int finished : outcome.finished) EXPECT_EQ(finished, 0) << "signal to rank " << rank;
    EXPECT_EQ(outcome.results, std::vector<std::int64_t>{1});
  }
}

TEST(PromptShare, WaitingLongerThanTheTimeoutIsNoStall) {
  const auto finished = [](int slow, const std::vector<int>& lengths) {
    Setting setting{.replicas = 2, .ranks = 2, .slots = 1, .step_s = 0.01, .slow = slow};
    setting.messages.stall_timeout_s = 1;
    return share(setting, lengths).finished;
  };
  auto works = std::async([&] { return finished(1, {2, 600}); });  // rank 0 waits
  EXPECT_EQ(finished(0, {250, 2}), std::vector<int>(4, 1));
  EXPECT_EQ(works.get(), std::vector<int>(4, 1));
}

/// The message of the error that ends the job when a rank sleeps at its fifth step.
std::string error_of(const Setting& usual, const std::vector<int>& lengths, int sleeper) {
  Setting setting = usual;
  setting.messages.stall_timeout_s = 0.4;
  setting.at_step = [sleeper](int rank, int step) {
    if (rank == sleeper && step == 5) std::this_thread::sleep_for(std::chrono::seconds(5));
  };
  try {
    (void)share(setting, lengths);
  } catch (const CommError& error) {
    return error.what();
  }
  return "no error";
}

TEST(PromptShare, ASilentReplicaIsFoundWhileTheFirstWorksAndWhileItWaits) {
  const Setting setting{.replicas = 3, .slots = 1, .step_s = 0.001};
  auto works = std::async([&] { return error_of(setting, {100000, 100000, 50}, 2); });
  const std::string waits = error_of(setting, {2, 2, 50}, 2);
  const std::string words = "waited 3.5 s for a sign of life of its replica from rank 2";
  EXPECT_NE(works.get().find(words), std::string::npos);
  EXPECT_NE(waits.find(words), std::string::npos) << waits;
}

TEST(PromptShare, ASilentFirstReplicaIsFoundByThoseThatWait) {
  const Setting setting{.replicas = 2, .slots = 1};
  auto at_the_end = std::async([&] { return error_of(setting, {50, 2}, 0); });
  const std::string for_more = error_of(setting, std::vector<int>(50, 10), 0);
  EXPECT_NE(for_more.find("waited 0.4 s for more prompts from rank 0"), std::string::npos) << for_more;
  const std::string in_the_end = at_the_end.get();  // or it has just asked whether there is more
  EXPECT_NE(in_the_end.find("waited 0.4 s for "), std::string::npos) << in_the_end;
  EXPECT_NE(in_the_end.find(" from rank 0"), std::string::npos) << in_the_end;
}

TEST(PromptQueue, NobodyTakesTheLastOnesAlone) {
  PromptQueue queue(100, 4, 5);
  EXPECT_EQ(queue.left_from(), 20);
  EXPECT_EQ(queue.take(3).begin, 20);
  EXPECT_EQ(queue.take(1000).size(), 20);  // of 77, for 4 replicas
  while (queue.take(7).size() > 2) {
  }
  EXPECT_LE(queue.take(7).size(), 2);
  while (!queue.take(1).empty()) {
  }
  EXPECT_EQ(queue.take(1).begin, 100);
  EXPECT_EQ(PromptQueue(3, 4, 5).left_from(), 3);
  EXPECT_TRUE(PromptQueue(3, 4, 5).take(1).empty());
}

}  // namespace
}  // namespace stagformer::test
