#include "comm/stall.hpp"

#include <algorithm>
#include <chrono>
#include <sstream>
#include <thread>
#include <vector>

namespace stagformer::internal {
namespace {

constexpr int kStuckTag = 32767;   // of posts; nobody else uses it
constexpr int kMostRanks = 64;     // more would flood the network with messages
constexpr std::size_t kNamed = 4;  // silent ranks named

using Clock = std::chrono::steady_clock;

/// [rank]: has said that it is stuck, or is this one.
std::vector<bool> listen(Transport& transport, double seconds) {
  std::vector<bool> heard(static_cast<std::size_t>(transport.size()), false);
  heard[static_cast<std::size_t>(transport.rank())] = true;
  for (int rank = 0; rank < transport.size(); ++rank)
    if (rank != transport.rank()) transport.post({}, rank, kStuckTag);
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (Clock::now() < end && !std::ranges::all_of(heard, [](bool h) { return h; })) {
    while (const auto sign = transport.poll(kStuckTag)) heard[static_cast<std::size_t>(sign->first)] = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return heard;
}

std::string text_of(const Transport& transport, const std::vector<int>& silent) {
  std::string text = "; no sign of ";
  for (std::size_t i = 0; i < std::min(silent.size(), kNamed); ++i)
    text += (i > 0 ? ", " : "") + place_text(transport, silent[i]);
  if (silent.size() > kNamed) text += " and " + std::to_string(silent.size() - kNamed) + " more";
  return text;
}

}  // namespace

std::string place_text(const Transport& transport, int rank) {
  const std::string host = transport.host_of(rank);
  return "rank " + std::to_string(transport.rank_in_job(rank)) + (host.empty() ? "" : " on host " + host);
}

std::string stall_text(const Transport& transport, const WaitSubject& subject, double timeout_s) {
  std::ostringstream out;
  out << "waited " << timeout_s << " s for " << subject.what;
  if (subject.section >= 0) out << " of section " << subject.section;
  if (subject.peer >= 0) out << " from " << place_text(transport, subject.peer);
  if (subject.step >= 0) out << " at step " << subject.step;
  out << " (--stall-timeout)";
  return out.str();
}

std::string silent_ranks_text(Transport& transport, const WaitSubject& subject, double timeout_s) {
  if (transport.size() < 3 || transport.size() > kMostRanks || transport.is_dry_run()) return {};
  try {
    const std::vector<bool> heard = listen(transport, std::clamp(0.25 * timeout_s, 0.1, 2.0));
    std::vector<int> silent;
    for (int rank = 0; rank < transport.size(); ++rank)
      if (!heard[static_cast<std::size_t>(rank)]) silent.push_back(rank);
    if (silent.empty() || silent == std::vector<int>{subject.peer}) return {};
    return text_of(transport, silent);
  } catch (const std::exception&) {  // the stall itself is what counts
    return {};
  }
}

}  // namespace stagformer::internal
