// The transport over an MPI communicator. Needs MPI_THREAD_FUNNELED: all calls come from the thread that
// started MPI.
#pragma once

#include <mpi.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "comm/mpi_posts.hpp"
#include "comm/transport.hpp"

namespace stagformer::internal {

class MpiTransport final : public Transport {
 public:
  /// Highest tag of make_send and make_receive; the one above is used inside.
  static constexpr int kLastTag = 32766;

  /// Works on duplicates of `comm` (collective); `comm` itself stays the caller's.
  explicit MpiTransport(MPI_Comm comm, double stall_timeout_s = 0);
  ~MpiTransport() override;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int rank_in_job(int rank) const override;
  std::string host_name() const override { return host_name_; }
  std::string library() const override;

  Request make_send(std::span<const std::byte> buffer, int peer, int tag) override;
  Request make_receive(std::span<std::byte> buffer, int peer, int tag) override;
  void start_send(Request request, std::size_t bytes) override;
  void start_receive(Request request) override;
  bool test(Request request) override;
  std::size_t received_bytes(Request request) const override;
  void release(Request request) override;
  void progress() override;

  void barrier() override;
  Bytes broadcast(Bytes bytes, int root) override;
  std::vector<Bytes> all_gather(const Bytes& mine) override;

  void post(Bytes bytes, int peer, int tag) override;
  std::optional<std::pair<int, Bytes>> poll(int tag) override { return posts_->poll(tag); }
  void flush_posts() override;
  std::unique_ptr<Transport> split(int colour) override;

  /// Start-up messages above this many bytes travel in pieces; the same on all ranks (default 1 GiB).
  void set_largest_piece(std::size_t bytes) { largest_piece_ = bytes; }

 private:
  struct Entry {
    MPI_Request request = MPI_REQUEST_NULL;
    const std::byte* source = nullptr;  // sends only
    int peer = 0;
    int tag = 0;
    std::size_t capacity = 0;
    std::size_t bytes = 0;  // a send's size as last made, a receive's as last arrived
    bool is_send = false;
    bool active = false;
  };
  Request add(const Entry& entry);
  Entry& entry(Request request) { return entries_.at(static_cast<std::size_t>(request)); }
  void end(Entry& entry);
  bool is_complete(MPI_Request& request);
  void finish(MPI_Request& request, const WaitSubject& subject);
  void check_in(const char* what);
  /// Whom a collective waits for where only one rank can be missing; -1 else.
  int the_other() const { return size_ == 2 ? 1 - rank_ : -1; }
  void broadcast_pieces(Bytes& bytes, int root);

  MPI_Comm loop_ = MPI_COMM_NULL;   // requests and collectives
  MPI_Comm extra_ = MPI_COMM_NULL;  // posted messages
  std::unique_ptr<MpiPosts> posts_;
  int rank_ = 0;
  int size_ = 1;
  std::string host_name_;
  std::size_t largest_piece_ = std::size_t{1} << 30;
  double patience_s_ = 5;  // left for released requests to end, over the transport's life
  std::vector<Entry> entries_;
  std::vector<Request> free_;
};

}  // namespace stagformer::internal
