#include "cli/replica_reports.hpp"

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <utility>

#include "base/phase_clock.hpp"
#include "comm/stall.hpp"
#include "pipeline/tags.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

using nlohmann::json;

// Signs of life also carry the figures of the progress line; at least so many fall into a stall timeout.
constexpr double kSignInterval = 2, kSignsPerTimeout = 8;
// Who waits inside a stuck replica knows more, and is to speak first: some seconds after its timeout.
constexpr double kPatience = 1.25, kMorePatience = 3;  // stall timeouts, seconds

Bytes packed(const char* kind, const json& value) {
  return to_bytes(json::array({kind, value}).dump(-1, ' ', false, json::error_handler_t::replace));
}

json unpacked(const Bytes& bytes) {
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  return json::parse(text, text + bytes.size());
}

json to_json(const GenerationLoad& load) {
  return {load.free_slots, load.ending, load.running, load.tokens_to_go, load.generated};
}
GenerationLoad load_from(const json& j) {
  return {j[0], j[1], j[2], j[3], j[4]};
}

/// A replica that waits for hours leaves its cores to others.
void nap() {
  std::this_thread::sleep_for(std::chrono::microseconds(500));
}

}  // namespace

ReplicaReports::ReplicaReports(Transport& world, const Grid& grid, Events events, const PromptQueue& queue)
    : world_(world),
      grid_(grid),
      queue_(queue),
      events_(std::move(events)),
      replicas_(static_cast<std::size_t>(grid.replicas)),
      sign_interval_s_(kSignInterval),
      last_sign_s_(now_seconds()) {
  const double timeout_s = world.stall_timeout_s();
  if (timeout_s <= 0) return;
  sign_interval_s_ = std::min(sign_interval_s_, timeout_s / kSignsPerTimeout);
  silence_limit_s_ = kPatience * timeout_s + kMorePatience;
}

void ReplicaReports::send_to_root(const char* kind, const json& value) {
  world_.post(packed(kind, value), 0, tag(Tag::result));
}

void ReplicaReports::send_order(int rank, const char* kind, const json& value) {
  world_.post(packed(kind, value), rank, tag(Tag::orders));
}

void ReplicaReports::send(const json& result) {
  send_to_root("result", result);
}

void ReplicaReports::note_load(int replica, const GenerationLoad& load) {
  if (events_.on_load) events_.on_load(replica, load);
}

void ReplicaReports::take_messages() {
  while (const auto arrived = world_.poll(tag(Tag::result)))
    take_message(grid_.replica_of(arrived->first), unpacked(arrived->second));
}

void ReplicaReports::take_message(int replica, const json& message) {
  const std::string kind = message[0];
  Replica& sender = replicas_[static_cast<std::size_t>(replica)];
  sender.silent_s = 0;
  if (kind == "result") {
    events_.on_result(message[1]);
  } else if (kind == "alive") {
    note_load(replica, load_from(message[1]));
  } else if (kind == "ask") {
    const PromptRange range = queue_.take(message[1]);
    send_order(leader_of(replica), "take", {range.begin, range.end});
  } else if (kind == "stop") {
    stopping_ = true;
  } else {
    sender.ended = true;
    all_finished_ &= message[1].get<bool>();
    note_load(replica, {});
  }
}

void ReplicaReports::take_orders() {
  while (const auto arrived = world_.poll(tag(Tag::orders))) {
    const json message = unpacked(arrived->second);
    const std::string kind = message[0];
    ++orders_;
    if (kind == "take") answer_ = {message[1][0], message[1][1]};
    if (kind == "stop") stopping_ = true;
    if (kind == "end") end_ = message[1].get<bool>();
  }
}

void ReplicaReports::stop_all() {
  if (std::exchange(told_to_stop_, true)) return;
  for (int replica = 1; replica < grid_.replicas; ++replica) send_order(leader_of(replica), "stop", {});
}

/// On rank 0: who has not been heard of for too long? Only time in which this rank listened counts: where it
/// was held up itself, the others' signs may still be on their way.
void ReplicaReports::watch(double now) {
  const double since = now - last_sign_s_;
  if (since < sign_interval_s_) return;
  last_sign_s_ = now;
  for (int r = 1; r < grid_.replicas; ++r) {
    Replica& replica = replicas_[static_cast<std::size_t>(r)];
    if (replica.ended) {
      send_order(leader_of(r), "alive", {});
    } else if (silence_limit_s_ > 0 &&
               (replica.silent_s += std::min(since, 2 * sign_interval_s_)) > silence_limit_s_) {
      throw CommError(stall_text(world_, {"a sign of life of its replica", leader_of(r)}, silence_limit_s_));
    }
  }
}

void ReplicaReports::tell_life(double now, const GenerationLoad& load) {
  if (now - last_sign_s_ < sign_interval_s_) return;
  last_sign_s_ = now;
  send_to_root("alive", to_json(load));
}

bool ReplicaReports::step(const GenerationLoad& load) {
  stopping_ |= events_.stop_wanted();
  if (is_root()) note_load(0, load);
  if (grid_.replicas == 1) return stopping_;
  if (is_root()) {
    take_messages();
    stopping_ |= !all_finished_;
    if (stopping_) stop_all();
    watch(now_seconds());
  } else if (leads()) {
    take_orders();
    tell_life(now_seconds(), load);
  }
  return stopping_;
}

void ReplicaReports::ask(std::int64_t wanted) {
  if (std::exchange(asked_, true)) return;
  if (is_root())
    answer_ = queue_.take(wanted);
  else
    send_to_root("ask", wanted);
}

std::optional<PromptRange> ReplicaReports::answer() {
  if (!is_root()) take_orders();
  if (answer_) asked_ = false;
  return std::exchange(answer_, std::nullopt);
}

/// Nobody else need be stuck while rank 0 is, so the transport's search for silent ranks would tell nothing.
void ReplicaReports::wait_for_root(Condition done, const char* what) {
  const double begin = now_seconds(), timeout_s = world_.stall_timeout_s();
  const auto is_done = [&] {
    if (done()) return true;
    if (leads() && timeout_s > 0 && now_seconds() - begin > timeout_s)
      throw CommError(stall_text(world_, {what, 0}, timeout_s));
    return false;
  };
  world_.set_stall_timeout(0);
  world_.wait_until(is_done, {what, 0});
  world_.set_stall_timeout(timeout_s);
}

std::optional<PromptRange> ReplicaReports::await_answer() {
  std::optional<PromptRange> range;
  const auto is_settled = [&] {
    range = answer();
    stopping_ |= events_.stop_wanted();
    return range || stopping_;
  };
  wait_for_root(is_settled, "more prompts");
  return stopping_ && !(range && range->empty()) ? std::nullopt : range;
}

/// On rank 0, until every replica has ended.
void ReplicaReports::await_others() {
  const auto all_ended = [&] {
    take_messages();
    stopping_ |= events_.stop_wanted() || !all_finished_;
    if (stopping_) stop_all();
    watch(now_seconds());
    nap();
    return std::all_of(replicas_.begin() + 1, replicas_.end(), [](const Replica& r) { return r.ended; });
  };
  world_.wait_until(all_ended, {"the other replicas", -1, -1});
  for (int replica = 1; replica < grid_.replicas; ++replica)
    send_order(leader_of(replica), "end", all_finished_);
  end_ = all_finished_;
}

/// On the other ranks. Leaders need signs of life from rank 0; who follows a leader goes down with it.
/// finished: the others may still be at work, so a signal that comes now is news to them.
void ReplicaReports::await_end(bool finished) {
  bool has_told = !finished;
  for (int before = orders_; !end_; before = orders_) {
    const auto is_told = [&] {
      if (events_.stop_wanted() && !std::exchange(has_told, true)) send_to_root("stop", {});
      take_orders();
      nap();
      return orders_ > before;
    };
    wait_for_root(is_told, "a sign of life of its replica");
  }
}

/// Rank 0 watches the others by their signs, not by the length of its own wait.
bool ReplicaReports::finish(bool finished) {
  if (grid_.replicas == 1) return finished;
  const double timeout_s = world_.stall_timeout_s();
  all_finished_ &= finished;
  stopping_ |= !finished;
  if (leads() && !is_root()) send_to_root("end", finished);
  if (is_root()) world_.set_stall_timeout(0);
  if (is_root())
    await_others();
  else
    await_end(finished);
  if (leads())
    for (int rank = world_.rank() + 1; rank < world_.rank() + grid_.ranks_per_replica(); ++rank)
      send_order(rank, "end", *end_);
  world_.flush_posts();
  world_.set_stall_timeout(timeout_s);
  return *end_;
}

}  // namespace stagformer::internal
