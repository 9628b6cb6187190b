#include "pipeline/run_notes.hpp"

#include <algorithm>
#include <set>

#include "base/text_table.hpp"

namespace stagformer::internal {
namespace {

// Below these nothing is said: chance, the first step's page faults and the clock have their part in every
// figure.
constexpr double kShortest_s = 2;
constexpr std::int64_t kFewestPasses = 20;
constexpr double kSharedCoresWait = 0.25;    // of a rank's time, mean of the host
constexpr double kLonger = 1.25;             // the slowest section's time, to the mean of the others
constexpr double kOthersWait = 0.05;         // of the time, for the slowest section
constexpr double kHeadShare = 0.15;          // of the last rank's time
constexpr double kMessageWait = 0.3;         // of the busiest rank's time
constexpr double kChainedWait = 0.3;         // of the ranks' time, mean
constexpr double kSendWait = 0.1;            // of a rank's time
constexpr double kIdle = 0.3, kBusy = 0.15;  // of a replica's time, outside of its passes
constexpr double kSameWork = 0.97;           // of the weights

using Replica = std::vector<const RankUse*>;

double of(const RankUse& rank, Phase phase) {
  return rank.phases[static_cast<std::size_t>(phase)];
}

double layers_s(const RankUse& r) {
  return of(r, Phase::embedding) + of(r, Phase::self_attention) + of(r, Phase::cross_attention) +
         of(r, Phase::memory_projection) + of(r, Phase::feed_forward);
}

double head_s(const RankUse& r) {
  return of(r, Phase::head) + of(r, Phase::sampling);
}

double wait_s(const RankUse& r) {
  return of(r, Phase::wait_input) + of(r, Phase::wait_memory) + of(r, Phase::wait_z) +
         of(r, Phase::wait_candidates);
}

/// In passes: what lies between them, and machine measurements, are left out.
double busy_s(const RankUse& r) {
  return layers_s(r) + head_s(r) + wait_s(r) + of(r, Phase::wait_send);
}

double share(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

std::string percent(double part) {
  return fixed(100 * part, 0) + " %";
}

int number_of(const RunUse& run, const RankUse& rank) {
  return static_cast<int>(&rank - run.ranks.data());
}

std::string place(const RunUse& run, const RankUse& rank) {
  return "rank " + std::to_string(number_of(run, rank)) + " on " + rank.host;
}

std::string sections_of(const RankUse& rank) {
  const int last = rank.first_section + rank.sections - 1;
  if (rank.sections == 1) return "section " + std::to_string(last);
  return "sections " + std::to_string(rank.first_section) + "-" + std::to_string(last);
}

std::vector<Replica> replicas_of(const RunUse& run) {
  std::vector<Replica> replicas;
  for (const RankUse& rank : run.ranks) {
    replicas.resize(std::max(replicas.size(), static_cast<std::size_t>(rank.replica) + 1));
    replicas[static_cast<std::size_t>(rank.replica)].push_back(&rank);
  }
  return replicas;
}

void note_shared_cores(const RunUse& run, std::vector<std::string>& notes) {
  std::set<std::string> hosts;
  for (const RankUse& rank : run.ranks)
    if (rank.shares_cores) hosts.insert(rank.host);
  for (const std::string& host : hosts) {
    double waited = 0, all = 0;
    for (const RankUse& rank : run.ranks) {
      if (rank.host != host) continue;
      waited += wait_s(rank);
      all += busy_s(rank);
    }
    if (share(waited, all) >= kSharedCoresWait)
      notes.push_back("host " + host + " has more threads than cores, and its ranks wait " +
                      percent(share(waited, all)) + " of their time: fewer ranks there, or fewer --threads");
  }
}

/// Another rank with as many threads and weights that is faster by kLonger.
bool has_faster_twin(const Replica& replica, const RankUse& slow) {
  return std::ranges::any_of(replica, [&](const RankUse* other) {
    const auto least = kSameWork * static_cast<double>(slow.weight_bytes);
    return other != &slow && other->threads == slow.threads &&
           static_cast<double>(other->weight_bytes) >= least && kLonger * layers_s(*other) <= layers_s(slow);
  });
}

void note_balance(const RunUse& run, const Replica& replica, std::vector<std::string>& notes) {
  const RankUse& slow = **std::ranges::max_element(replica, {}, [](const auto* r) { return layers_s(*r); });
  if (run.draft > 0 && &slow == replica.back()) return;  // it guesses while the others wait
  double others = 0;
  for (const RankUse* rank : replica) others += rank == &slow ? 0 : layers_s(*rank);
  others /= static_cast<double>(replica.size() - 1);
  const double lost = share(layers_s(slow) - others, busy_s(slow));
  // A rank that itself waits much is not what the others wait for.
  if (layers_s(slow) < kLonger * others || lost < kOthersWait ||
      share(wait_s(slow), busy_s(slow)) > kMessageWait)
    return;
  const bool twin = has_faster_twin(replica, slow);
  const std::string cause =
      twin ? "its host is slower, or busy with something else"
           : "give it more threads, or its layers to others" + std::string(run.chained ? "" : " in training");
  notes.push_back(sections_of(slow) + " (" + place(run, slow) + ") computes " +
                  percent(share(layers_s(slow), others) - 1) + " longer than the others" +
                  (twin ? ", some of them with the same work" : "") + ", who wait for it " + percent(lost) +
                  " of the time: " + cause);
}

void note_head(const RunUse& run, const Replica& replica, std::vector<std::string>& notes) {
  const RankUse& last = *replica.back();
  const double part = share(head_s(last), busy_s(last));
  if (run.head != HeadMode::last || run.draft > 0 || part < kHeadShare) return;
  notes.push_back(place(run, last) + " spends " + percent(part) +
                  " of its time in the head, while the others wait: --head sliced divides it by " +
                  std::to_string(replica.size()));
}

/// --head last saves one of the read-out's two ways and makes one rank compute all slices.
bool whole_head_is_faster(const RunUse& run, const Replica& replica, const RankUse& busiest) {
  const double ways = of(busiest, Phase::wait_z) + of(busiest, Phase::wait_candidates);
  return run.head == HeadMode::sliced && ways / 2 > static_cast<double>(replica.size() - 1) * head_s(busiest);
}

void note_messages(const RunUse& run, const Replica& replica, std::vector<std::string>& notes) {
  if (run.chained || run.schedule == Schedule::sequential) return;
  const RankUse& busiest =
      **std::ranges::max_element(replica, {}, [](const auto* r) { return layers_s(*r) + head_s(*r); });
  const double all = busy_s(busiest), waited = share(wait_s(busiest), all);
  if (waited < kMessageWait) return;
  std::string ways = "fewer ranks with more threads each";
  if (run.sequences == 1) ways += ", more prompts at a time";
  if (run.sequences > 1) ways += ", a larger --batch";
  if (run.can_draft) ways += ", generate --draft";
  if (whole_head_is_faster(run, replica, busiest)) ways += ", --head last";
  const auto part = [&](Phase phase) { return percent(share(of(busiest, phase), all)); };
  notes.push_back("even the rank that computes most (" + place(run, busiest) + ") waits " + percent(waited) +
                  " of its time for messages (memory " + part(Phase::wait_memory) + ", z " +
                  part(Phase::wait_z) + ", candidates or token " + part(Phase::wait_candidates) +
                  "): " + ways);
}

void note_chain(const RunUse& run, const Replica& replica, std::vector<std::string>& notes) {
  if (!run.chained) return;
  double waited = 0, all = 0;
  for (const RankUse* rank : replica) {
    waited += wait_s(*rank);
    all += busy_s(*rank);
  }
  if (share(waited, all) < kChainedWait) return;
  notes.push_back("chained sections work one after another, so that ranks wait " +
                  percent(share(waited, all)) + " of their time: fewer ranks with more threads each");
}

void note_sends(const RunUse& run, std::vector<std::string>& notes) {
  if (run.ranks.empty()) return;
  const auto part = [](const RankUse& r) { return share(of(r, Phase::wait_send), busy_s(r)); };
  const RankUse& worst = *std::ranges::max_element(run.ranks, {}, part);
  if (part(worst) < kSendWait) return;
  notes.push_back(place(run, worst) + " waits " + percent(part(worst)) +
                  " of its time for earlier messages to leave; a step's hidden states are " +
                  fixed(static_cast<double>(run.state_bytes) / 1024, 1) +
                  " KiB: raise MPI's eager limit (docs/clusters.md)");
}

/// Least of the ranks: what a replica's ranks spend outside of passes all together.
double idle_share(const Replica& replica) {
  double least = 1;
  for (const RankUse* rank : replica)
    least = std::min(least, share(of(*rank, Phase::other), of(*rank, Phase::other) + busy_s(*rank)));
  return least;
}

void note_replicas(const std::vector<Replica>& replicas, std::vector<std::string>& notes) {
  std::size_t idlest = 0, busiest = 0;
  for (std::size_t r = 0; r < replicas.size(); ++r) {
    if (idle_share(replicas[r]) > idle_share(replicas[idlest])) idlest = r;
    if (idle_share(replicas[r]) < idle_share(replicas[busiest])) busiest = r;
  }
  if (replicas.empty() || idle_share(replicas[idlest]) < kIdle || idle_share(replicas[busiest]) > kBusy)
    return;
  notes.push_back("replica " + std::to_string(idlest) + " has nothing to do for " +
                  percent(idle_share(replicas[idlest])) + " of the run, replica " + std::to_string(busiest) +
                  " for " + percent(idle_share(replicas[busiest])) +
                  ": fewer replicas, or more prompts of like length");
}

}  // namespace

std::vector<std::string> run_notes(const RunUse& run) {
  std::vector<std::string> notes;
  double longest = 0;
  for (const RankUse& rank : run.ranks) longest = std::max(longest, busy_s(rank));
  if (longest < kShortest_s || run.passes < kFewestPasses) return notes;
  const std::vector<Replica> replicas = replicas_of(run);
  note_shared_cores(run, notes);
  const bool is_distorted = !notes.empty();
  for (const Replica& replica : replicas) {
    if (replica.size() < 2 || is_distorted) continue;
    note_balance(run, replica, notes);
    note_head(run, replica, notes);
    note_messages(run, replica, notes);
    note_chain(run, replica, notes);
  }
  note_sends(run, notes);
  note_replicas(replicas, notes);
  return notes;
}

}  // namespace stagformer::internal
