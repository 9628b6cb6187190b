#include "comm/mpi_transport.hpp"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <numeric>

#include "base/check.hpp"
#include "comm/call_guard.hpp"
#include "comm/host_name.hpp"
#include "comm/mpi_check.hpp"
#include "comm/stall.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

constexpr int kCheckInTag = MpiTransport::kLastTag + 1;  // 32767 is the least upper bound that MPI promises
constexpr double kOthersPatience = 1.25;

MPI_Comm duplicate(MPI_Comm comm) {
  MPI_Comm copy = MPI_COMM_NULL;
  mpi_check(MPI_Comm_dup(comm, &copy), "MPI_Comm_dup");
  mpi_check(MPI_Comm_set_errhandler(copy, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  return copy;
}

bool mpi_is_running() {
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  return initialized != 0 && finalized == 0;
}

// Runs `wait`. Where it throws MPI may still use the buffers, which therefore live on, owned by nobody.
template <typename Buffers, typename Wait>
void with_lasting(Buffers& buffers, Wait&& wait) {
  try {
    wait();
  } catch (...) {
    [[maybe_unused]] const auto* lasting = new Buffers(std::move(buffers));
    throw;
  }
}

}  // namespace

MpiTransport::MpiTransport(MPI_Comm comm, double stall_timeout_s) {
  int rank_outside = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_outside);
  const CallGuard guard("MPI_Comm_dup", rank_outside, stall_timeout_s);
  loop_ = duplicate(comm);
  extra_ = duplicate(comm);
  posts_ = std::make_unique<MpiPosts>(extra_);
  set_stall_timeout(stall_timeout_s);
  mpi_check(MPI_Comm_rank(loop_, &rank_), "MPI_Comm_rank");
  mpi_check(MPI_Comm_size(loop_, &size_), "MPI_Comm_size");
  host_name_ = this_host_name();
}

MpiTransport::~MpiTransport() {
  posts_->abandon();
  // While an exception unwinds the job is about to be aborted: no call that might need the other ranks.
  if (!mpi_is_running() || std::uncaught_exceptions() > 0) return;
  const CallGuard guard("MPI_Comm_free", rank_in_job(rank_), stall_timeout_s());
  MPI_Comm_free(&extra_);
  MPI_Comm_free(&loop_);
}

std::string MpiTransport::library() const {
  return short_mpi_library_name(mpi_library_text());
}

int MpiTransport::rank_in_job(int rank) const {
  MPI_Group mine = MPI_GROUP_NULL, job = MPI_GROUP_NULL;
  MPI_Comm_group(loop_, &mine);
  MPI_Comm_group(MPI_COMM_WORLD, &job);
  int in_job = rank;
  MPI_Group_translate_ranks(mine, 1, &rank, job, &in_job);
  MPI_Group_free(&mine);
  MPI_Group_free(&job);
  return in_job;
}

Transport::Request MpiTransport::add(const Entry& entry) {
  STAG_CHECK(entry.peer >= 0 && entry.peer < size_, entry.peer, size_);
  STAG_CHECK(entry.tag >= 0 && entry.tag <= kLastTag, entry.tag);
  if (free_.empty()) {
    entries_.push_back(entry);
    return static_cast<Request>(entries_.size()) - 1;
  }
  const Request request = free_.back();
  free_.pop_back();
  this->entry(request) = entry;
  return request;
}

Transport::Request MpiTransport::make_send(std::span<const std::byte> buffer, int peer, int tag) {
  mpi_count(buffer.size(), "a message");
  return add({.source = buffer.data(), .peer = peer, .tag = tag, .capacity = buffer.size(), .is_send = true});
}

Transport::Request MpiTransport::make_receive(std::span<std::byte> buffer, int peer, int tag) {
  const Request request = add({.peer = peer, .tag = tag, .capacity = buffer.size()});
  mpi_check(MPI_Recv_init(buffer.data(), mpi_count(buffer.size(), "a message"), MPI_BYTE, peer, tag, loop_,
                          &entry(request).request),
            "MPI_Recv_init");
  return request;
}

void MpiTransport::start_send(Request request, std::size_t bytes) {
  Entry& send = entry(request);
  STAG_CHECK(send.is_send && !send.active && bytes <= send.capacity, send.peer, send.active, bytes,
             send.capacity);
  if (send.request == MPI_REQUEST_NULL || send.bytes != bytes) {
    if (send.request != MPI_REQUEST_NULL) mpi_check(MPI_Request_free(&send.request), "MPI_Request_free");
    mpi_check(MPI_Send_init(send.source, static_cast<int>(bytes), MPI_BYTE, send.peer, send.tag, loop_,
                            &send.request),
              "MPI_Send_init");
    send.bytes = bytes;
  }
  mpi_check(MPI_Start(&send.request), "MPI_Start of a send");
  send.active = true;
  count_send(bytes);
}

void MpiTransport::start_receive(Request request) {
  Entry& receive = entry(request);
  STAG_CHECK(!receive.is_send && !receive.active, receive.peer, receive.tag, receive.active);
  mpi_check(MPI_Start(&receive.request), "MPI_Start of a receive");
  receive.active = true;
}

bool MpiTransport::test(Request request) {
  Entry& tested = entry(request);
  if (!tested.active) return true;
  int done = 0;
  MPI_Status status;
  mpi_check(MPI_Test(&tested.request, &done, &status),
            tested.is_send ? "MPI_Test of a send" : "MPI_Test of a receive");
  if (done == 0) return false;
  tested.active = false;
  if (tested.is_send) return true;
  int count = 0;
  mpi_check(MPI_Get_count(&status, MPI_BYTE, &count), "MPI_Get_count");
  tested.bytes = static_cast<std::size_t>(count);
  return true;
}

std::size_t MpiTransport::received_bytes(Request request) const {
  return entries_.at(static_cast<std::size_t>(request)).bytes;
}

void MpiTransport::release(Request request) {
  Entry& released = entry(request);
  if (released.request != MPI_REQUEST_NULL && mpi_is_running()) {
    if (released.active) end(released);
    MPI_Request_free(&released.request);
  }
  released = {};
  free_.push_back(request);
}

// A receive's cancellation ends at once unless its message is on the way; a send cannot be cancelled
// everywhere. Both get some time, little where an exception unwinds: the peer may be dead.
void MpiTransport::end(Entry& ended) {
  using Clock = std::chrono::steady_clock;
  if (!ended.is_send) MPI_Cancel(&ended.request);
  if (std::uncaught_exceptions() > 0) patience_s_ = std::min(patience_s_, 0.5);
  const auto begin = Clock::now();
  const auto waited_s = [begin] { return std::chrono::duration<double>(Clock::now() - begin).count(); };
  int done = 0;
  while (MPI_Test(&ended.request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done == 0) {
    if (waited_s() > patience_s_) break;
    if (yields()) sched_yield();
  }
  patience_s_ = std::max(0.0, patience_s_ - waited_s());
}

void MpiTransport::progress() {
  // A probe that never finds anything runs MPI's progress in every library; one that finds something may not.
  int found = 0;
  mpi_check(MPI_Iprobe(rank_, kCheckInTag, loop_, &found, MPI_STATUS_IGNORE), "MPI_Iprobe");
}

bool MpiTransport::is_complete(MPI_Request& request) {
  int done = 0;
  mpi_check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test");
  return done != 0;
}

// Collectives only. Rank 0 alone knows who is missing (see check_in), so the others give it time to say so
// first.
void MpiTransport::finish(MPI_Request& request, const WaitSubject& subject) {
  const double timeout_s = rank_ == 0 ? stall_timeout_s() : kOthersPatience * stall_timeout_s();
  if (is_done_within(timeout_s, [&] { return is_complete(request); })) return;
  throw CommError(stall_text(*this, subject, timeout_s));
}

// Before a collective every rank reports to rank 0, which can then say who does not come; a collective alone
// cannot.
void MpiTransport::check_in(const char* what) {
  if (rank_ != 0) {
    MPI_Request sent = MPI_REQUEST_NULL;
    mpi_check(MPI_Isend(nullptr, 0, MPI_BYTE, 0, kCheckInTag, loop_, &sent), "MPI_Isend");
    return finish(sent, {.what = what, .peer = 0});
  }
  for (int peer = 1; peer < size_; ++peer) {
    MPI_Request arrived = MPI_REQUEST_NULL;
    mpi_check(MPI_Irecv(nullptr, 0, MPI_BYTE, peer, kCheckInTag, loop_, &arrived), "MPI_Irecv");
    finish(arrived, {.what = what, .peer = peer});
  }
}

void MpiTransport::barrier() {
  check_in("a barrier");
  MPI_Request request = MPI_REQUEST_NULL;
  mpi_check(MPI_Ibarrier(loop_, &request), "MPI_Ibarrier");
  finish(request, {.what = "a barrier", .peer = the_other()});
}

void MpiTransport::broadcast_pieces(Bytes& bytes, int root) {
  const auto broadcast_range = [&](std::size_t begin, std::size_t count) {
    MPI_Request request = MPI_REQUEST_NULL;
    mpi_check(MPI_Ibcast(bytes.data() + begin, static_cast<int>(count), MPI_BYTE, root, loop_, &request),
              "MPI_Ibcast");
    finish(request, {.what = "a broadcast", .peer = root == rank_ ? -1 : root});
  };
  with_lasting(bytes, [&] {
    for (std::size_t begin = 0; begin < bytes.size(); begin += largest_piece_)
      broadcast_range(begin, std::min(largest_piece_, bytes.size() - begin));
  });
}

Bytes MpiTransport::broadcast(Bytes bytes, int root) {
  STAG_CHECK(root >= 0 && root < size_, root, size_);
  check_in("a broadcast");
  std::vector<std::uint64_t> size(1, bytes.size());
  with_lasting(size, [&] {
    MPI_Request request = MPI_REQUEST_NULL;
    mpi_check(MPI_Ibcast(size.data(), 1, MPI_UINT64_T, root, loop_, &request), "MPI_Ibcast");
    finish(request, {.what = "a broadcast", .peer = root == rank_ ? -1 : root});
  });
  bytes.resize(size[0]);
  broadcast_pieces(bytes, root);
  return bytes;
}

namespace {

struct GatherBuffers {
  Bytes mine, all;
  std::vector<std::uint64_t> my_size, sizes;
  std::vector<int> counts, offsets;
};

std::vector<Bytes> cut_by_rank(const GatherBuffers& buffers) {
  std::vector<Bytes> parts;
  auto begin = buffers.all.begin();
  for (const auto size : buffers.sizes) {
    parts.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(size));
    begin += static_cast<std::ptrdiff_t>(size);
  }
  return parts;
}

}  // namespace

std::vector<Bytes> MpiTransport::all_gather(const Bytes& mine) {
  check_in("an all-gather");
  const auto ranks = static_cast<std::size_t>(size_);
  GatherBuffers buffers;
  buffers.mine = mine;
  buffers.my_size = {mine.size()};
  buffers.sizes.resize(ranks);
  const WaitSubject subject{.what = "an all-gather", .peer = the_other()};
  with_lasting(buffers, [&] {
    MPI_Request request = MPI_REQUEST_NULL;
    mpi_check(MPI_Iallgather(buffers.my_size.data(), 1, MPI_UINT64_T, buffers.sizes.data(), 1, MPI_UINT64_T,
                             loop_, &request),
              "MPI_Iallgather");
    finish(request, subject);
  });
  const std::uint64_t total = std::accumulate(buffers.sizes.begin(), buffers.sizes.end(), std::uint64_t{0});
  if (total > largest_piece_) {  // known to all ranks alike
    std::vector<Bytes> parts;
    for (int root = 0; root < size_; ++root) {
      parts.push_back(root == rank_ ? mine : Bytes(buffers.sizes[static_cast<std::size_t>(root)]));
      broadcast_pieces(parts.back(), root);
    }
    return parts;
  }
  buffers.all.resize(total);
  buffers.counts.assign(buffers.sizes.begin(), buffers.sizes.end());
  buffers.offsets.resize(ranks);
  std::exclusive_scan(buffers.counts.begin(), buffers.counts.end(), buffers.offsets.begin(), 0);
  with_lasting(buffers, [&] {
    MPI_Request request = MPI_REQUEST_NULL;
    mpi_check(
        MPI_Iallgatherv(buffers.mine.data(), static_cast<int>(mine.size()), MPI_BYTE, buffers.all.data(),
                        buffers.counts.data(), buffers.offsets.data(), MPI_BYTE, loop_, &request),
        "MPI_Iallgatherv");
    finish(request, subject);
  });
  return cut_by_rank(buffers);
}

void MpiTransport::post(Bytes bytes, int peer, int tag) {
  STAG_CHECK(peer >= 0 && peer < size_, peer, size_);
  posts_->post(std::move(bytes), peer, tag);
}

void MpiTransport::flush_posts() {
  wait_until([this] { return posts_->all_left(); }, {.what = "posted messages to be taken"});
}

std::unique_ptr<Transport> MpiTransport::split(int colour) {
  STAG_CHECK(colour >= 0, colour);
  barrier();  // says who is missing, which the guard cannot
  const CallGuard guard("MPI_Comm_split", rank_in_job(rank_), stall_timeout_s());
  MPI_Comm part = MPI_COMM_NULL;
  mpi_check(MPI_Comm_split(loop_, colour, rank_, &part), "MPI_Comm_split");
  auto transport = std::make_unique<MpiTransport>(part, stall_timeout_s());
  mpi_check(MPI_Comm_free(&part), "MPI_Comm_free");
  transport->set_yield(yields());
  transport->set_largest_piece(largest_piece_);
  if (knows_hosts()) transport->learn_hosts();
  return transport;
}

}  // namespace stagformer::internal
