#include "comm/simulated_world.hpp"

#include <algorithm>
#include <deque>
#include <exception>
#include <map>
#include <thread>

#include "base/check.hpp"
#include "comm/turns.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

struct Message {
  int from = 0;
  double arrives = 0;
  Bytes bytes;
};

/// What was sent to one rank and not taken yet.
struct Mailbox {
  std::map<std::pair<int, int>, std::deque<Message>> messages;  // by sender and tag, in the order of sending
  std::map<int, std::deque<Message>> posts;                     // by tag

  /// The earliest arrival later than `time`.
  double next_arrival(double time) const {
    double next = Turns::kNever;
    const auto look = [&](const auto& queues) {
      for (const auto& [key, queue] : queues)
        for (const Message& message : queue)
          if (message.arrives > time) next = std::min(next, message.arrives);
    };
    look(messages);
    look(posts);
    return next;
  }
};

/// One collective call: takes no time but that of the last rank to come.
struct Round {
  explicit Round(int ranks) : parts(static_cast<std::size_t>(ranks)) {}
  std::vector<Bytes> parts;
  int arrived = 0;
};

struct World {
  World(int ranks, const SimulatedLink& world_link)
      : turns(ranks),
        link(world_link),
        mailboxes(static_cast<std::size_t>(ranks)),
        round(std::make_shared<Round>(ranks)) {}
  Turns turns;
  const SimulatedLink& link;
  std::vector<Mailbox> mailboxes;
  std::shared_ptr<Round> round;
};

class SimulatedTransport final : public Transport {
 public:
  SimulatedTransport(World& world, int rank) : world_(world), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return world_.turns.size(); }
  std::string host_name() const override { return "simulated-" + std::to_string(rank_); }
  std::string library() const override { return "simulation"; }

  double now() const override { return world_.turns.clock(rank_); }
  void sleep(double seconds) override { world_.turns.advance(rank_, std::max(0.0, seconds)); }

  Request make_send(std::span<const std::byte> buffer, int peer, int tag) override {
    return add({peer, tag, buffer, {}});
  }
  Request make_receive(std::span<std::byte> buffer, int peer, int tag) override {
    return add({peer, tag, {}, buffer});
  }
  void start_send(Request request, std::size_t bytes) override;
  void start_receive(Request request) override;
  bool test(Request request) override;
  std::size_t received_bytes(Request request) const override {
    return requests_.at(static_cast<std::size_t>(request)).received;
  }
  void release(Request request) override;
  void progress() override {}

  void barrier() override { exchange({}); }
  Bytes broadcast(Bytes bytes, int root) override {
    return exchange(rank_ == root ? bytes : Bytes{})->parts[static_cast<std::size_t>(root)];
  }
  std::vector<Bytes> all_gather(const Bytes& part) override { return exchange(part)->parts; }

  void post(Bytes bytes, int peer, int tag) override;
  std::optional<std::pair<int, Bytes>> poll(int tag) override;
  void flush_posts() override {}
  std::unique_ptr<Transport> split(int) override { throw CommError("a simulated transport cannot be split"); }

 protected:
  void pause(unsigned) override { world_.turns.sleep_until(rank_, mine().next_arrival(now())); }

 private:
  struct Entry {
    int peer = 0, tag = 0;
    std::span<const std::byte> source;
    std::span<std::byte> target;
    std::size_t received = 0;
    bool done = true;
  };
  using Key = std::pair<int, int>;

  Request add(const Entry& entry) {
    STAG_CHECK(entry.peer >= 0 && entry.peer < size(), entry.peer, size());
    requests_.push_back(entry);
    return static_cast<Request>(requests_.size()) - 1;
  }
  Entry& entry(Request request) { return requests_.at(static_cast<std::size_t>(request)); }
  Mailbox& mine() { return world_.mailboxes[static_cast<std::size_t>(rank_)]; }
  void take(const Key& key);
  std::shared_ptr<Round> exchange(const Bytes& part);

  World& world_;
  int rank_;
  std::vector<Entry> requests_;
  std::map<Key, std::deque<Request>> waiting_;  // receives in the order of their start
};

void SimulatedTransport::start_send(Request request, std::size_t bytes) {
  const Entry& send = entry(request);
  STAG_CHECK(bytes <= send.source.size(), bytes, send.source.size());
  world_.turns.sync(rank_);
  count_send(bytes);
  const auto size = static_cast<double>(bytes);
  const double arrives = now() + world_.link.latency_s(size);
  auto& queue = world_.mailboxes[static_cast<std::size_t>(send.peer)].messages[{rank_, send.tag}];
  queue.push_back(
      {rank_, arrives, Bytes(send.source.begin(), send.source.begin() + static_cast<std::ptrdiff_t>(bytes))});
  world_.turns.wake(send.peer, arrives);
  sleep(world_.link.gap_s(size));
}

void SimulatedTransport::start_receive(Request request) {
  Entry& receive = entry(request);
  STAG_CHECK(receive.done, receive.peer, receive.tag);
  receive.done = false;
  waiting_[{receive.peer, receive.tag}].push_back(request);
}

bool SimulatedTransport::test(Request request) {
  if (entry(request).done) return true;
  world_.turns.sync(rank_);
  take({entry(request).peer, entry(request).tag});
  return entry(request).done;
}

/// Messages of one sender and tag go into the receives that wait for them, in the order of both.
void SimulatedTransport::take(const Key& key) {
  auto& messages = mine().messages[key];
  auto& receives = waiting_[key];
  while (!messages.empty() && !receives.empty() && messages.front().arrives <= now()) {
    Entry& receive = entry(receives.front());
    const Bytes& bytes = messages.front().bytes;
    if (bytes.size() > receive.target.size())
      throw CommError("a simulated message is longer than its buffer");
    std::ranges::copy(bytes, receive.target.begin());
    receive.received = bytes.size();
    receive.done = true;
    receives.pop_front();
    messages.pop_front();
  }
}

void SimulatedTransport::release(Request request) {
  Entry& released = entry(request);
  if (released.done) return;
  std::erase(waiting_[{released.peer, released.tag}], request);
  released.done = true;
}

std::shared_ptr<Round> SimulatedTransport::exchange(const Bytes& part) {
  world_.turns.sync(rank_);
  const std::shared_ptr<Round> round = world_.round;
  round->parts[static_cast<std::size_t>(rank_)] = part;
  if (++round->arrived == size()) {
    world_.round = std::make_shared<Round>(size());
    for (int rank = 0; rank < size(); ++rank) world_.turns.wake(rank, now());
  }
  while (round->arrived < size()) world_.turns.sleep_until(rank_, Turns::kNever);
  return round;
}

void SimulatedTransport::post(Bytes bytes, int peer, int tag) {
  world_.turns.sync(rank_);
  const double arrives = now() + world_.link.latency_s(static_cast<double>(bytes.size()));
  world_.mailboxes[static_cast<std::size_t>(peer)].posts[tag].push_back({rank_, arrives, std::move(bytes)});
  world_.turns.wake(peer, arrives);
}

std::optional<std::pair<int, Bytes>> SimulatedTransport::poll(int tag) {
  world_.turns.sync(rank_);
  auto& posts = mine().posts[tag];
  const auto found = std::ranges::find_if(posts, [&](const Message& post) { return post.arrives <= now(); });
  if (found == posts.end()) return std::nullopt;
  std::pair<int, Bytes> taken{found->from, std::move(found->bytes)};
  posts.erase(found);
  return taken;
}

}  // namespace

void run_simulated_ranks(int ranks, const SimulatedLink& link, const std::function<void(Transport&)>& body) {
  STAG_CHECK(ranks > 0, ranks);
  World world(ranks, link);
  std::exception_ptr first_failure;
  const auto run_rank = [&](int rank) {
    world.turns.wait_for_first(rank);
    try {
      SimulatedTransport transport(world, rank);
      body(transport);
    } catch (const std::exception& error) {
      if (!first_failure) first_failure = std::current_exception();
      world.turns.poison("rank " + std::to_string(rank) + " failed: " + error.what());
    }
    world.turns.end(rank);
  };
  {
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < ranks; ++rank) threads.emplace_back(run_rank, rank);
    world.turns.begin();
  }
  if (first_failure) std::rethrow_exception(first_failure);
}

}  // namespace stagformer::internal
