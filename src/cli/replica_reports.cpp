#include "cli/replica_reports.hpp"

#include <string>
#include <utility>

#include "base/phase_clock.hpp"
#include "pipeline/tags.hpp"

namespace stagformer::internal {
namespace {

using nlohmann::json;

// So many signs of life fall into one stall timeout.
constexpr double kSignsPerTimeout = 8;

json parsed(const Bytes& bytes) {
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  return json::parse(text, text + bytes.size());
}

}  // namespace

ReplicaReports::ReplicaReports(Transport& world, const Grid& grid, std::function<void(const json&)> on_result)
    : world_(world), grid_(grid), on_result_(std::move(on_result)) {}

void ReplicaReports::post(const json& message) {
  world_.post(to_bytes(message.dump(-1, ' ', false, json::error_handler_t::replace)), 0, tag(Tag::result));
}

void ReplicaReports::send(const json& result) {
  post(result);
}

// On the way to rank 0: null is a sign of life, true or false the end of a share, anything else a result.
void ReplicaReports::take_messages() {
  while (const auto arrived = world_.poll(tag(Tag::result))) {
    const json message = parsed(arrived->second);
    ++messages_;
    if (message.is_boolean()) {
      ++replicas_done_;
      all_finished_ &= message.get<bool>();
    } else if (!message.is_null()) {
      on_result_(message);
    }
  }
}

void ReplicaReports::stop_all() {
  if (told_to_stop_) return;
  told_to_stop_ = true;
  for (int replica = 1; replica < grid_.replicas; ++replica)
    world_.post(Bytes(1), replica * grid_.ranks_per_replica(), tag(Tag::stop_replica));
}

bool ReplicaReports::step(bool stop) {
  stopping_ |= stop;
  if (grid_.replicas == 1) return stopping_;
  if (is_root()) {
    take_messages();
    stopping_ |= !all_finished_;
    if (stopping_) stop_all();
  } else if (leads()) {
    stopping_ |= world_.poll(tag(Tag::stop_replica)).has_value();
    const double now = now_seconds();
    if (world_.stall_timeout_s() > 0 && now >= next_sign_s_) {
      next_sign_s_ = now + world_.stall_timeout_s() / kSignsPerTimeout;
      post(nullptr);
    }
  }
  return stopping_;
}

/// Rank 0 counts every message as progress of the others. The others wait for it without a limit: who is
/// stuck is found by the ranks of its own replica, or by rank 0.
bool ReplicaReports::finish(bool finished) {
  all_finished_ &= finished;
  const double timeout_s = world_.stall_timeout_s();
  if (grid_.replicas > 1) {
    if (leads() && !is_root()) post(finished);
    while (is_root() && replicas_done_ < grid_.replicas - 1) {
      if (!all_finished_) stop_all();
      const int before = messages_;
      world_.wait_until(
          [&] {
            take_messages();
            return messages_ > before;
          },
          {"a sign of life of the other replicas", -1, -1});
    }
    world_.flush_posts();
    if (!is_root()) world_.set_stall_timeout(0);
  }
  const Bytes answer = world_.broadcast(Bytes(1, std::byte(all_finished_)), 0);
  world_.set_stall_timeout(timeout_s);
  return answer[0] != std::byte{0};
}

}  // namespace stagformer::internal
