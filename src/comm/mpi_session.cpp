#include "comm/mpi_session.hpp"

#include <mpi.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <map>
#include <thread>

#include "comm/call_guard.hpp"
#include "comm/mpi_check.hpp"
#include "comm/mpi_transport.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

/// A batch's hidden states are larger than the 4 KiB that Open MPI hands over at once in shared memory; above
/// that limit the receiver has to fetch them, which takes ten times as long for a few tens of KiB. What the
/// user has set stays.
void prefer_eager_messages() {
  setenv("OMPI_MCA_btl_vader_eager_limit", "65536", 0);  // Open MPI 4
  setenv("OMPI_MCA_btl_sm_eager_limit", "65536", 0);     // its name since 5
}

// MPI's start and end have work of their own, which a busy host takes seconds for.
constexpr double kOwnWork_s = 10, kMpichsEnd_s = 5;
constexpr std::chrono::seconds kAbortsTime{5};

double with_own_work(double stall_timeout_s) {
  return stall_timeout_s > 0 ? stall_timeout_s + kOwnWork_s : 0;
}

bool is_initialized() {
  int initialized = 0;
  mpi_check(MPI_Initialized(&initialized), "MPI_Initialized");
  return initialized != 0;
}

}  // namespace

MpiSession::MpiSession(int& argc, char**& argv, double stall_timeout_s)
    : owns_(!is_initialized()), stall_timeout_s_(stall_timeout_s) {
  int level = MPI_THREAD_SINGLE;
  if (owns_) {
    prefer_eager_messages();
    const std::optional<LauncherInfo> launcher = detect_launcher();
    const CallGuard guard("MPI_Init", launcher ? launcher->rank : 0, with_own_work(stall_timeout_s_));
    mpi_check(MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &level), "MPI_Init_thread");
  } else {
    mpi_check(MPI_Query_thread(&level), "MPI_Query_thread");
  }
  mpi_check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  if (level < MPI_THREAD_FUNNELED)
    throw CommError(library() + " offers thread level " + std::to_string(level) +
                    ", needed is MPI_THREAD_FUNNELED (" + std::to_string(MPI_THREAD_FUNNELED) + ")");
  mpi_check(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
  mpi_check(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size");
  find_neighbours();
}

void MpiSession::find_neighbours() {
  const CallGuard guard("MPI_Comm_split_type", rank_, stall_timeout_s_);
  MPI_Comm host = MPI_COMM_NULL;
  mpi_check(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &host),
            "MPI_Comm_split_type");
  mpi_check(MPI_Comm_rank(host, &local_rank_), "MPI_Comm_rank");
  mpi_check(MPI_Comm_size(host, &local_size_), "MPI_Comm_size");
  host_leader_ = rank_;
  mpi_check(MPI_Bcast(&host_leader_, 1, MPI_INT, 0, host), "MPI_Bcast");
  mpi_check(MPI_Comm_free(&host), "MPI_Comm_free");
}

MpiSession::~MpiSession() {
  if (!owns_ || std::uncaught_exceptions() > 0) return;
  if (size_ == 1 || !library().starts_with("MPICH")) {
    const CallGuard guard("MPI_Finalize", rank_, with_own_work(stall_timeout_s_));
    MPI_Finalize();
    return;
  }
  // MPICH over UCX (before 4.2) may hang there: a rank gives up a connection that is not complete, and the
  // other end, which is through, no longer answers. When all have come this far nothing is left to do, and a
  // process that returns ends the others.
  {
    const CallGuard guard("MPI_Barrier", rank_, with_own_work(stall_timeout_s_));
    MPI_Barrier(MPI_COMM_WORLD);
  }
  const CallGuard guard(rank_, kMpichsEnd_s, [code = exit_code_] { std::_Exit(code); });
  MPI_Finalize();
}

void MpiSession::abort(int code) {
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  std::this_thread::sleep_for(kLaunchersTime);
  // On a host that is cut off MPI_Abort may wait for its launcher for ever.
  std::thread([code] {
    std::this_thread::sleep_for(kAbortsTime);
    std::_Exit(code);
  }).detach();
  if (initialized != 0 && finalized == 0) MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

std::string MpiSession::library() const {
  return short_mpi_library_name(mpi_library_text());
}

std::unique_ptr<Transport> MpiSession::world() const {
  auto world = std::make_unique<MpiTransport>(MPI_COMM_WORLD, stall_timeout_s_);
  world->learn_hosts();
  return world;
}

std::vector<HostEntry> host_table(Transport& transport, int leader) {
  const std::string name = transport.host_name();
  Bytes mine(sizeof leader + name.size());
  std::memcpy(mine.data(), &leader, sizeof leader);
  std::memcpy(mine.data() + sizeof leader, name.data(), name.size());
  const std::vector<Bytes> all = transport.all_gather(mine);

  std::vector<HostEntry> hosts;
  std::map<int, std::size_t> host_of_leader;
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    int its_leader = 0;
    std::memcpy(&its_leader, all[rank].data(), sizeof its_leader);
    const auto [found, is_new] = host_of_leader.try_emplace(its_leader, hosts.size());
    if (is_new)
      hosts.push_back(
          {.name = std::string(reinterpret_cast<const char*>(all[rank].data()) + sizeof its_leader,
                               all[rank].size() - sizeof its_leader),
           .ranks = {}});
    hosts[found->second].ranks.push_back(static_cast<int>(rank));
  }
  return hosts;
}

}  // namespace stagformer::internal
