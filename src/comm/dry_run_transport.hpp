// One rank of any number, alone: sends are written down, receives bring zeros. Counts what a grid would send.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "comm/transport.hpp"

namespace stagformer::internal {

class DryRunTransport final : public Transport {
 public:
  struct Sent {
    int peer = 0;
    int tag = 0;
    std::size_t bytes = 0;
  };

  DryRunTransport(int rank, int size);

  /// Sends through requests since construction or clear(), in order.
  const std::vector<Sent>& sends() const { return sends_; }
  /// Messages of post(), likewise.
  const std::vector<Sent>& posts() const { return posts_; }
  void clear();

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string host_name() const override;
  std::string library() const override { return "dry run"; }
  bool is_dry_run() const override { return true; }

  Request make_send(std::span<const std::byte> buffer, int peer, int tag) override;
  Request make_receive(std::span<std::byte> buffer, int peer, int tag) override;
  void start_send(Request request, std::size_t bytes) override;
  void start_receive(Request request) override;  ///< completes with zeros in the whole buffer
  bool test(Request) override { return true; }
  std::size_t received_bytes(Request request) const override;
  void release(Request) override {}
  void progress() override {}

  void barrier() override {}
  Bytes broadcast(Bytes bytes, int root) override;
  /// Every rank is taken to give what this one gives.
  std::vector<Bytes> all_gather(const Bytes& mine) override;
  void post(Bytes bytes, int peer, int tag) override;
  std::optional<std::pair<int, Bytes>> poll(int) override { return std::nullopt; }
  void flush_posts() override {}
  /// All ranks are taken to pass the same colour.
  std::unique_ptr<Transport> split(int colour) override;

 private:
  struct Entry {
    int peer = 0;
    int tag = 0;
    std::span<std::byte> target{};  // receives only
    std::size_t capacity = 0;
  };
  Request add(const Entry& entry);

  int rank_;
  int size_;
  std::vector<Entry> requests_;
  std::vector<Sent> sends_;
  std::vector<Sent> posts_;
};

}  // namespace stagformer::internal
