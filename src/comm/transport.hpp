// How ranks reach each other, as a value: one object is one rank's end. Local (ranks are threads of one
// process), MPI, and dry run (any number of ranks, nothing is sent) behind the same calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace stagformer::internal {

using Bytes = std::vector<std::byte>;

/// Texts travel as their bytes.
inline Bytes to_bytes(const std::string& text) {
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}
inline std::string to_text(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// What a rank waits for, so that a stall can be named.
struct WaitSubject {
  const char* what = "";   ///< "the memory" (of a section), "candidates", ...
  int peer = -1;           ///< rank waited for, -1 = several
  std::int64_t step = -1;  ///< decode step or pass number
  int section = -1;        ///< where it belongs to one
};

/// A condition to wait for, called where it stands: refers to any callable, so that a wait never allocates.
class Condition {
 public:
  template <typename Done>
  requires(!std::is_same_v<std::remove_cvref_t<Done>, Condition> && std::is_invocable_r_v<bool, Done&>)
      // NOLINTNEXTLINE(bugprone-forwarding-reference-overload): the constraint keeps copies out
      Condition(Done&& done)  // implicit: a lambda is passed as it is
      : object_(const_cast<void*>(static_cast<const void*>(&done))),
        call_([](void* object) -> bool { return (*static_cast<std::remove_reference_t<Done>*>(object))(); }) {
  }
  bool operator()() const { return call_(object_); }

 private:
  void* object_;
  bool (*call_)(void*);
};

class Transport {
 public:
  /// Handle of a persistent send or receive, valid until release().
  using Request = int;

  virtual ~Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::string host_name() const = 0;
  /// "Open MPI 4.1.4" or "local threads": for the log.
  virtual std::string library() const = 0;
  /// What this transport's rank `rank` is called in the whole job: for messages.
  virtual int rank_in_job(int rank) const { return rank; }
  /// Nothing is really sent: what is received, sizes included, is made up.
  virtual bool is_dry_run() const { return false; }

  /// Collective: every rank learns on which host the others run, for messages. Transports split from this one
  /// afterwards know it too.
  void learn_hosts();
  /// Empty where it was not learned.
  const std::string& host_of(int rank) const;

  // The loop: persistent requests over buffers that outlive them. Nothing here allocates once a request has
  // its size.
  virtual Request make_send(std::span<const std::byte> buffer, int peer, int tag) = 0;
  virtual Request make_receive(std::span<std::byte> buffer, int peer, int tag) = 0;
  /// Starts a send of the buffer's first `bytes` bytes; the underlying request is remade only when `bytes`
  /// changes.
  virtual void start_send(Request request, std::size_t bytes) = 0;
  /// Starts a receive of up to the whole buffer.
  virtual void start_receive(Request request) = 0;
  /// True when the started request is complete (or was never started); drives progress.
  virtual bool test(Request request) = 0;
  /// Bytes of the last completed receive.
  virtual std::size_t received_bytes(Request request) const = 0;
  /// Frees a request. A receive in flight is cancelled, a send in flight gets a little time to leave. Never
  /// throws.
  virtual void release(Request request) = 0;
  /// Lets pending messages move; called between layers.
  virtual void progress() = 0;

  // Start-up and shut-down: collective, blocking under the watchdog.
  virtual void barrier() = 0;
  virtual Bytes broadcast(Bytes bytes, int root) = 0;            ///< every rank returns root's bytes
  virtual std::vector<Bytes> all_gather(const Bytes& mine) = 0;  ///< entry r is rank r's bytes

  // Rare messages of any size that nobody waits for at a fixed time (results of a replica to rank 0).
  // Non-blocking for the sender: the transport keeps the bytes until they are gone.
  virtual void post(Bytes bytes, int peer, int tag) = 0;
  /// A posted message of this tag from any peer that has arrived, with its sender.
  virtual std::optional<std::pair<int, Bytes>> poll(int tag) = 0;
  /// Waits until all that was posted has left.
  virtual void flush_posts() = 0;

  /// Collective: a transport among the ranks that pass the same colour, ordered by rank.
  virtual std::unique_ptr<Transport> split(int colour) = 0;

  /// Seconds after which a wait counts as stuck and throws CommError; <= 0: never.
  virtual void set_stall_timeout(double seconds) { stall_timeout_s_ = seconds; }
  double stall_timeout_s() const { return stall_timeout_s_; }
  /// Waits give the core away between tests (more ranks than cores).
  void set_yield(bool yield) { yield_ = yield; }
  bool yields() const { return yield_; }

  /// The rank's clock, seconds, and the time that emulated work takes: real, unless the transport simulates
  /// both.
  virtual double now() const;
  virtual void sleep(double seconds);

  /// Tests until done. Throws CommError naming subject, peer, its host and step once the stall timeout has
  /// passed.
  void wait(Request request, const WaitSubject& subject);
  /// As wait(), on any condition; `done` must call test() or poll() itself so that messages move.
  void wait_until(Condition done, const WaitSubject& subject);

  /// Messages and bytes that this rank has started to send through requests.
  std::uint64_t messages_sent() const { return messages_sent_; }
  std::uint64_t bytes_sent() const { return bytes_sent_; }

 protected:
  Transport() = default;
  /// Between two tests of a condition that does not hold yet, the `spins`-th time.
  virtual void pause(unsigned spins);
  /// As wait_until(); false where so many seconds were not enough (<= 0: never).
  bool is_done_within(double timeout_s, Condition done);
  bool knows_hosts() const { return !hosts_.empty(); }
  void count_send(std::size_t bytes) {
    ++messages_sent_;
    bytes_sent_ += bytes;
  }

 private:
  std::vector<std::string> hosts_;  // by rank
  double stall_timeout_s_ = 0;
  bool yield_ = false;
  std::uint64_t messages_sent_ = 0;
  std::uint64_t bytes_sent_ = 0;
};

/// Collective: every rank's value, by rank. A value is plain memory, sent as it is.
template <typename Value>
std::vector<Value> gather_values(Transport& world, const Value& mine) {
  static_assert(std::is_trivially_copyable_v<Value>);
  Bytes bytes(sizeof mine);
  std::memcpy(bytes.data(), &mine, sizeof mine);
  std::vector<Value> all;
  for (const Bytes& other : world.all_gather(bytes)) {
    all.emplace_back();
    std::memcpy(&all.back(), other.data(), sizeof mine);
  }
  return all;
}

}  // namespace stagformer::internal
