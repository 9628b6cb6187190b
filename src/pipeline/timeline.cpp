#include "pipeline/timeline.hpp"

#include <algorithm>
#include <cstddef>

namespace stagformer::internal {
namespace {

constexpr int kSteps = 24, kSteady = 8;  // the last ones count; the first ones fill the pipeline

class Replica {
 public:
  Replica(const std::vector<RankWork>& work, const StepMessages& messages, HeadMode head,
          const LinkModel& link)
      : work_(work),
        messages_(messages),
        sliced_(head != HeadMode::last && work.size() > 1),
        link_(link),
        free_(work.size(), 0),
        memory_(work.size(), 0),
        pending_(work.size(), false),
        busy_(work.size(), 0) {}

  /// All layers of one pass, and its messages to the next ranks. `dependent`: rows look at each other, so
  /// every rank needs this pass's memory.
  void run_layers(bool dependent) {
    double arrival = 0;  // of the message from the rank before, sent in this pass
    for (std::size_t r = 0; r < work_.size(); ++r) {
      double begin = free_[r];
      const bool now = r > 0 && (dependent || work_[r].waits);
      if (now) {
        begin = std::max(begin, arrival) + work_[r].absorb_s;
        busy_[r] += work_[r].absorb_s;
      } else if (pending_[r]) {
        begin = std::max(begin, memory_[r]) + work_[r].absorb_s;
        busy_[r] += work_[r].absorb_s;
      }
      pending_[r] = r > 0 && !now;
      memory_[r] = arrival;
      free_[r] = begin + work_[r].layers_s;
      busy_[r] += work_[r].layers_s;
      arrival = free_[r] + link_.latency_s(messages_.hidden);
    }
  }

  /// z to all, the head, the candidates to all; or head and choice on the last rank, the tokens to all.
  void read_out() {
    if (messages_.combined) sum_outputs();
    if (sliced_) {
      broadcast(messages_.z);
      for (std::size_t r = 0; r < work_.size(); ++r) compute(r, work_[r].head_s);
      gather();
      for (std::size_t r = 0; r < work_.size(); ++r) compute(r, work_[r].choice_s);
    } else {
      compute(work_.size() - 1, work_.back().head_s + work_.back().choice_s);
      broadcast(messages_.record);
    }
  }

  double end() const { return *std::max_element(free_.begin(), free_.end()); }
  std::vector<double>& busy() { return busy_; }

 private:
  void compute(std::size_t rank, double seconds) {
    free_[rank] += seconds;
    busy_[rank] += seconds;
  }

  /// A binomial tree from the last rank: number v (counted from the root) sends to v + 2^k below its lowest
  /// bit.
  void broadcast(double bytes) {
    const std::size_t n = work_.size();
    std::size_t top = 1;
    while (top < n) top *= 2;
    send_down(0, top, free_[n - 1], bytes);
  }
  void send_down(std::size_t number, std::size_t step, double begin, double bytes) {
    const std::size_t n = work_.size(), rank = (number + n - 1) % n;
    free_[rank] = begin;
    for (std::size_t k = step / 2; k > 0; k /= 2) {
      if (number + k >= n) continue;
      const std::size_t child = (number + k + n - 1) % n;
      send_down(number + k, k, std::max(free_[child], begin + link_.latency_s(bytes)), bytes);
      begin += link_.gap_s(bytes);
    }
    free_[rank] = std::max(free_[rank], begin);
  }

  /// Bruck's all-gather: in round k every rank takes up to 2^k records from rank + 2^k. A rank goes on while
  /// messages are there already; where it first has to wait it makes memory of what has arrived from the rank
  /// before.
  void gather() {
    const std::size_t n = work_.size();
    std::vector<bool> waited(n, false);
    std::vector<double> sent(n);
    for (std::size_t have = 1; have < n; have *= 2) {
      const double bytes = messages_.record * static_cast<double>(std::min(have, n - have));
      sent = free_;
      for (std::size_t r = 0; r < n; ++r) {
        double here = sent[r] + link_.gap_s(bytes);
        const double arrival = sent[(r + have) % n] + link_.latency_s(bytes);
        if (!waited[r] && arrival > here) {
          waited[r] = true;
          if (pending_[r] && memory_[r] <= here) {
            here += work_[r].absorb_s;
            busy_[r] += work_[r].absorb_s;
            pending_[r] = false;
          }
        }
        free_[r] = std::max(here, arrival);
      }
    }
  }

  /// Halves are summed pairwise, the right part's last rank adds and waits for the other half: depth log2 n,
  /// the sum ends on the last rank.
  void sum_outputs() { sum(0, work_.size()); }
  double sum(std::size_t first, std::size_t end) {
    if (end - first == 1) return free_[first];
    const std::size_t middle = first + (end - first + 1) / 2;
    const double left = sum(first, middle) + link_.latency_s(messages_.z), right = sum(middle, end);
    return free_[end - 1] = std::max(left, right);
  }

  const std::vector<RankWork>& work_;
  const StepMessages& messages_;
  const bool sliced_;
  const LinkModel& link_;
  std::vector<double> free_;    // when the rank can go on
  std::vector<double> memory_;  // when the message of the last pass arrives from the rank before
  std::vector<bool> pending_;   // it was not made memory yet
  std::vector<double> busy_;
};

}  // namespace

Timeline decode_timeline(const std::vector<RankWork>& work, const StepMessages& messages, HeadMode head,
                         const LinkModel& link) {
  Replica replica(work, messages, head, link);
  double before = 0;
  for (int step = 0; step < kSteps; ++step) {
    if (step == kSteps - kSteady) {
      before = replica.end();
      std::fill(replica.busy().begin(), replica.busy().end(), 0.0);
    }
    replica.run_layers(false);
    replica.read_out();
  }
  Timeline timeline;
  timeline.step_s = (replica.end() - before) / kSteady;
  for (const double busy : replica.busy())
    timeline.waits_s.push_back(std::max(0.0, timeline.step_s - busy / kSteady));
  return timeline;
}

double prompt_seconds(const std::vector<RankWork>& work, const StepMessages& messages, HeadMode head,
                      const LinkModel& link, std::int64_t chunks) {
  Replica replica(work, messages, head, link);
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) replica.run_layers(true);
  replica.read_out();
  return replica.end();
}

}  // namespace stagformer::internal
