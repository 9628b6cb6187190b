#include "comm/local_transport.hpp"

#include <atomic>
#include <chrono>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "base/check.hpp"
#include "comm/host_name.hpp"
#include "comm/local_mailbox.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

/// Shared by a world and everything split from it.
class Poison {
 public:
  void set(const std::string& reason) {
    const std::lock_guard lock(mutex_);
    if (set_.load(std::memory_order_relaxed)) return;
    reason_ = reason;
    set_.store(true, std::memory_order_release);
  }
  /// The reason no longer changes once the flag is seen.
  void check() const {
    if (set_.load(std::memory_order_acquire)) throw CommError(reason_);
  }

 private:
  std::mutex mutex_;
  std::atomic<bool> set_{false};
  std::string reason_;
};

/// One collective call: every rank leaves its part and takes all of them once the last has arrived.
struct Round {
  explicit Round(int ranks) : parts(static_cast<std::size_t>(ranks)) {}
  std::vector<Bytes> parts;
  std::atomic<int> arrived{0};
};

}  // namespace

/// What the endpoints of one world, or of one colour of a split, share.
struct LocalGroup {
  LocalGroup(int group_size, const LocalOptions& group_options, std::shared_ptr<Poison> group_poison)
      : size(group_size),
        options(group_options),
        poison(std::move(group_poison)),
        mailboxes(static_cast<std::size_t>(group_size)),
        round(std::make_shared<Round>(group_size)) {}

  struct Child {
    std::shared_ptr<LocalGroup> group;
    int untaken = 0;
  };
  const int size;
  const LocalOptions options;
  const std::shared_ptr<Poison> poison;
  std::vector<LocalMailbox> mailboxes;
  std::mutex mutex;  // guards what follows
  std::shared_ptr<Round> round;
  std::map<std::pair<int, int>, Child>
      children;  // by (number of the split, colour), until all members have theirs
};

namespace {

class LocalTransport final : public Transport {
 public:
  LocalTransport(std::shared_ptr<LocalGroup> group, int rank)
      : group_(std::move(group)),
        rank_(rank),
        random_(group_->options.seed * 1000003 + static_cast<std::uint64_t>(rank)),
        untaken_posts_(std::make_shared<std::atomic<int>>(0)) {
    set_stall_timeout(group_->options.stall_timeout_s);
    set_yield(true);  // the ranks share this process's cores
  }

  int rank() const override { return rank_; }
  int size() const override { return group_->size; }
  std::string host_name() const override { return this_host_name(); }
  std::string library() const override { return "local threads"; }

  Request make_send(std::span<const std::byte> buffer, int peer, int tag) override {
    return add({.peer = peer, .tag = tag, .source = buffer, .is_send = true});
  }
  Request make_receive(std::span<std::byte> buffer, int peer, int tag) override {
    const Request request = add({.peer = peer, .tag = tag});
    entry(request).state->target = buffer;
    return request;
  }
  void start_send(Request request, std::size_t bytes) override;
  void start_receive(Request request) override;
  bool test(Request request) override;
  std::size_t received_bytes(Request request) const override {
    return requests_.at(static_cast<std::size_t>(request)).state->received;
  }
  void release(Request request) override;
  void progress() override { mine().deliver(); }

  void barrier() override { exchange({}, "a barrier"); }
  Bytes broadcast(Bytes bytes, int root) override;
  std::vector<Bytes> all_gather(const Bytes& part) override { return exchange(part, "an all-gather")->parts; }

  void post(Bytes bytes, int peer, int tag) override;
  std::optional<std::pair<int, Bytes>> poll(int tag) override;
  void flush_posts() override;
  std::unique_ptr<Transport> split(int colour) override;

 private:
  struct Entry {
    int peer = 0, tag = 0;
    std::span<const std::byte> source{};
    bool is_send = false;
    std::shared_ptr<LocalRequest> state = std::make_shared<LocalRequest>();
  };
  Request add(Entry entry);
  Entry& entry(Request request) { return requests_.at(static_cast<std::size_t>(request)); }
  LocalMailbox& mine() { return group_->mailboxes[static_cast<std::size_t>(rank_)]; }
  LocalMailbox& of(int peer) { return group_->mailboxes[static_cast<std::size_t>(peer)]; }
  LocalMailbox::Clock::time_point arrival_of_a_message_sent_now();
  std::shared_ptr<Round> exchange(const Bytes& part, const char* what);
  std::shared_ptr<LocalGroup> child_group(int colour, int members);

  std::shared_ptr<LocalGroup> group_;
  int rank_;
  std::mt19937_64 random_;
  std::vector<Entry> requests_;
  std::vector<Request> free_;
  std::shared_ptr<std::atomic<int>> untaken_posts_;
  int splits_ = 0;
};

Transport::Request LocalTransport::add(Entry entry) {
  STAG_CHECK(entry.peer >= 0 && entry.peer < size(), entry.peer, size());
  if (free_.empty()) {
    requests_.push_back(std::move(entry));
    return static_cast<Request>(requests_.size()) - 1;
  }
  const Request request = free_.back();
  free_.pop_back();
  this->entry(request) = std::move(entry);
  return request;
}

LocalMailbox::Clock::time_point LocalTransport::arrival_of_a_message_sent_now() {
  const LocalOptions& options = group_->options;
  if (options.delay_us <= 0 && options.random_delay_us <= 0) return {};
  double delay_us = options.delay_us;
  if (options.random_delay_us > 0)
    delay_us += std::uniform_real_distribution<double>(0, options.random_delay_us)(random_);
  using std::chrono::duration;
  return LocalMailbox::Clock::now() +
         std::chrono::duration_cast<LocalMailbox::Clock::duration>(duration<double, std::micro>(delay_us));
}

void LocalTransport::start_send(Request request, std::size_t bytes) {
  Entry& send = entry(request);
  STAG_CHECK(send.is_send && bytes <= send.source.size(), bytes, send.source.size());
  STAG_CHECK(send.state->done.load(std::memory_order_acquire), send.peer, send.tag);
  group_->poison->check();
  count_send(bytes);
  const bool rendezvous = group_->options.rendezvous;
  if (rendezvous) send.state->done.store(false, std::memory_order_relaxed);
  of(send.peer).put(rank_, send.tag, send.source.first(bytes), arrival_of_a_message_sent_now(),
                    rendezvous ? send.state : nullptr);
}

void LocalTransport::start_receive(Request request) {
  Entry& receive = entry(request);
  STAG_CHECK(!receive.is_send && receive.state->done.load(std::memory_order_relaxed), receive.peer,
             receive.tag);
  receive.state->done.store(false, std::memory_order_relaxed);
  mine().add_receive(receive.peer, receive.tag, receive.state);
}

bool LocalTransport::test(Request request) {
  group_->poison->check();
  const Entry& tested = entry(request);
  if (tested.state->done.load(std::memory_order_acquire)) return true;
  mine().deliver();
  return tested.state->done.load(std::memory_order_acquire);
}

void LocalTransport::release(Request request) {
  Entry& released = entry(request);
  if (!released.is_send)
    mine().cancel_receive(released.peer, released.tag, released.state.get());
  else if (!released.state->done.load(std::memory_order_acquire))
    of(released.peer).detach_send(rank_, released.tag, released.state.get());
  released.state.reset();
  free_.push_back(request);
}

std::shared_ptr<Round> LocalTransport::exchange(const Bytes& part, const char* what) {
  std::shared_ptr<Round> round;
  {
    const std::lock_guard lock(group_->mutex);
    round = group_->round;
    round->parts[static_cast<std::size_t>(rank_)] = part;
    if (round->arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == size())
      group_->round = std::make_shared<Round>(size());
  }
  wait_until(
      [&] {
        group_->poison->check();
        progress();
        return round->arrived.load(std::memory_order_acquire) == size();
      },
      {.what = what});
  return round;
}

Bytes LocalTransport::broadcast(Bytes bytes, int root) {
  STAG_CHECK(root >= 0 && root < size(), root, size());
  return exchange(rank_ == root ? bytes : Bytes{}, "a broadcast")->parts[static_cast<std::size_t>(root)];
}

void LocalTransport::post(Bytes bytes, int peer, int tag) {
  STAG_CHECK(peer >= 0 && peer < size(), peer, size());
  group_->poison->check();
  untaken_posts_->fetch_add(1, std::memory_order_relaxed);
  of(peer).put_post(rank_, tag, std::move(bytes), arrival_of_a_message_sent_now(), untaken_posts_);
}

std::optional<std::pair<int, Bytes>> LocalTransport::poll(int tag) {
  group_->poison->check();
  progress();
  return mine().take_post(tag);
}

void LocalTransport::flush_posts() {
  if (!group_->options.rendezvous) return;  // copied into the mailbox already
  const auto taken = [this] {
    group_->poison->check();
    progress();
    return untaken_posts_->load(std::memory_order_acquire) == 0;
  };
  wait_until(taken, {.what = "posted messages to be taken"});
}

std::unique_ptr<Transport> LocalTransport::split(int colour) {
  STAG_CHECK(colour >= 0, colour);
  Bytes mine_as_bytes(sizeof colour);
  std::memcpy(mine_as_bytes.data(), &colour, sizeof colour);
  const std::vector<Bytes> colours = all_gather(mine_as_bytes);
  int members = 0, new_rank = 0;
  for (int r = 0; r < size(); ++r) {
    if (colours[static_cast<std::size_t>(r)] != mine_as_bytes) continue;
    if (r < rank_) ++new_rank;
    ++members;
  }
  auto transport = std::make_unique<LocalTransport>(child_group(colour, members), new_rank);
  transport->set_stall_timeout(stall_timeout_s());
  transport->set_yield(yields());
  if (knows_hosts()) transport->learn_hosts();
  return transport;
}

/// The group of this split's colour, made by the first of its members that asks.
std::shared_ptr<LocalGroup> LocalTransport::child_group(int colour, int members) {
  const std::pair key(splits_++, colour);
  const std::lock_guard lock(group_->mutex);
  auto [child, is_new] = group_->children.try_emplace(key);
  if (is_new)
    child->second = {std::make_shared<LocalGroup>(members, group_->options, group_->poison), members};
  std::shared_ptr<LocalGroup> group = child->second.group;
  if (--child->second.untaken == 0) group_->children.erase(child);
  return group;
}

}  // namespace

LocalWorld::LocalWorld(int ranks, const Options& options) {
  STAG_CHECK(ranks > 0, ranks);
  group_ = std::make_shared<LocalGroup>(ranks, options, std::make_shared<Poison>());
}

int LocalWorld::size() const {
  return group_->size;
}

std::unique_ptr<Transport> LocalWorld::endpoint(int rank) const {
  STAG_CHECK(rank >= 0 && rank < size(), rank, size());
  return std::make_unique<LocalTransport>(group_, rank);
}

void LocalWorld::poison(const std::string& reason) const {
  group_->poison->set(reason);
}

void run_local_ranks(int ranks, const LocalOptions& options, const std::function<void(Transport&)>& body) {
  const LocalWorld world(ranks, options);
  std::mutex failure_mutex;
  std::exception_ptr first_failure;
  const auto fail = [&](int rank, const std::string& reason) {
    const std::lock_guard lock(failure_mutex);
    if (!first_failure) first_failure = std::current_exception();
    world.poison("rank " + std::to_string(rank) + " failed: " + reason);
  };
  const auto run_rank = [&](int rank) {
    try {
      const auto transport = world.endpoint(rank);
      body(*transport);
    } catch (const std::exception& error) {
      fail(rank, error.what());
    } catch (...) {
      fail(rank, "unknown exception");
    }
  };
  {
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < ranks; ++rank) threads.emplace_back(run_rank, rank);
  }
  if (first_failure) std::rethrow_exception(first_failure);
}

}  // namespace stagformer::internal
