#include "comm/dry_run_transport.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "comm/host_name.hpp"

namespace stagformer::internal {

DryRunTransport::DryRunTransport(int rank, int size) : rank_(rank), size_(size) {
  STAG_CHECK(size > 0 && rank >= 0 && rank < size, rank, size);
}

void DryRunTransport::clear() {
  sends_.clear();
  posts_.clear();
}

std::string DryRunTransport::host_name() const {
  return this_host_name();
}

Transport::Request DryRunTransport::add(const Entry& entry) {
  STAG_CHECK(entry.peer >= 0 && entry.peer < size_, entry.peer, size_);
  requests_.push_back(entry);
  return static_cast<Request>(requests_.size()) - 1;
}

Transport::Request DryRunTransport::make_send(std::span<const std::byte> buffer, int peer, int tag) {
  return add({.peer = peer, .tag = tag, .capacity = buffer.size()});
}

Transport::Request DryRunTransport::make_receive(std::span<std::byte> buffer, int peer, int tag) {
  return add({.peer = peer, .tag = tag, .target = buffer, .capacity = buffer.size()});
}

void DryRunTransport::start_send(Request request, std::size_t bytes) {
  const Entry& entry = requests_.at(static_cast<std::size_t>(request));
  STAG_CHECK(bytes <= entry.capacity, bytes, entry.capacity);
  count_send(bytes);
  sends_.push_back({entry.peer, entry.tag, bytes});
}

void DryRunTransport::start_receive(Request request) {
  std::ranges::fill(requests_.at(static_cast<std::size_t>(request)).target, std::byte{0});
}

std::size_t DryRunTransport::received_bytes(Request request) const {
  return requests_.at(static_cast<std::size_t>(request)).capacity;
}

Bytes DryRunTransport::broadcast(Bytes bytes, int root) {
  STAG_CHECK(root >= 0 && root < size_, root, size_);
  return bytes;
}

std::vector<Bytes> DryRunTransport::all_gather(const Bytes& mine) {
  return std::vector<Bytes>(static_cast<std::size_t>(size_), mine);
}

void DryRunTransport::post(Bytes bytes, int peer, int tag) {
  posts_.push_back({peer, tag, bytes.size()});
}

std::unique_ptr<Transport> DryRunTransport::split(int) {
  return std::make_unique<DryRunTransport>(rank_, size_);
}

}  // namespace stagformer::internal
