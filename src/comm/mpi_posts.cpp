#include "comm/mpi_posts.hpp"

#include "comm/mpi_check.hpp"

namespace stagformer::internal {
namespace {

bool is_complete(MPI_Request& request) {
  int done = 0;
  mpi_check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test of a posted message");
  return done != 0;
}

}  // namespace

void MpiPosts::post(Bytes bytes, int peer, int tag) {
  const int count = mpi_count(bytes.size(), "a posted message");
  all_left();
  InFlight& message = leaving_.emplace_back(InFlight{.peer = peer, .bytes = std::move(bytes)});
  mpi_check(MPI_Isend(message.bytes.data(), count, MPI_BYTE, peer, tag, comm_, &message.request),
            "MPI_Isend");
}

bool MpiPosts::all_left() {
  std::erase_if(leaving_, [](InFlight& message) { return is_complete(message.request); });
  return leaving_.empty();
}

bool MpiPosts::begin_receive(int tag) {
  int found = 0;
  MPI_Message message = MPI_MESSAGE_NULL;
  MPI_Status status;
  mpi_check(MPI_Improbe(MPI_ANY_SOURCE, tag, comm_, &found, &message, &status), "MPI_Improbe");
  if (found == 0) return false;
  int count = 0;
  mpi_check(MPI_Get_count(&status, MPI_BYTE, &count), "MPI_Get_count");
  InFlight& arriving = arriving_[tag];
  arriving.peer = status.MPI_SOURCE;
  arriving.bytes.resize(static_cast<std::size_t>(count));
  mpi_check(MPI_Imrecv(arriving.bytes.data(), count, MPI_BYTE, &message, &arriving.request), "MPI_Imrecv");
  return true;
}

std::optional<std::pair<int, Bytes>> MpiPosts::poll(int tag) {
  if (!leaving_.empty()) all_left();
  if (!arriving_.contains(tag) && !begin_receive(tag)) return std::nullopt;
  const auto arriving = arriving_.find(tag);
  if (!is_complete(arriving->second.request)) return std::nullopt;
  std::pair<int, Bytes> message(arriving->second.peer, std::move(arriving->second.bytes));
  arriving_.erase(arriving);
  return message;
}

void MpiPosts::abandon() {
  if (!leaving_.empty()) new std::list<InFlight>(std::move(leaving_));
  if (!arriving_.empty()) new std::map<int, InFlight>(std::move(arriving_));
  leaving_.clear();
  arriving_.clear();
}

}  // namespace stagformer::internal
