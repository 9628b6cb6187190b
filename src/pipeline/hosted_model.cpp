#include "pipeline/hosted_model.hpp"

#include <algorithm>
#include <cstdlib>

#include "base/build_info.hpp"
#include "base/host_info.hpp"
#include "checkpoint/tensor_reader.hpp"
#include "comm/mpi_communicator.hpp"
#include "kernels/kernels.hpp"
#include "pipeline/agreed_kinds.hpp"
#include "pipeline/agreement.hpp"
#include "pipeline/evaluation.hpp"
#include "pipeline/head_choice.hpp"

namespace stagformer::internal {

std::unique_ptr<HostedModel> HostedModel::open(std::unique_ptr<Transport> world, bool on_mpi,
                                               const std::string& checkpoint, const LoadOptions& options) {
  std::unique_ptr<HostedModel> model(new HostedModel(std::move(world), on_mpi, options));
  try {
    model->load(checkpoint);
  } catch (const AgreedError& error) {
    model.reset();  // all ranks are here, so their communicators can go
    throw_as_its_kind(error);
  }
  return model;
}

HostedModel::HostedModel(std::unique_ptr<Transport> world, bool on_mpi, const LoadOptions& wanted)
    : wanted_(wanted), on_mpi_(on_mpi), world_(std::move(world)) {
  world_->set_stall_timeout(wanted.stall_timeout_s);
}

HostedModel::~HostedModel() {
  engine_.reset();
  for (std::unique_ptr<Transport>* transport : {&replica_, &world_}) {
    if (!*transport) continue;
    (*transport)->set_stall_timeout(0);         // whose guard would end the process
    if (!in_step_) (void)transport->release();  // freeing a communicator may wait for ranks that are lost
  }
}

void HostedModel::load(const std::string& checkpoint) {
  compare_ranks();
  read_index(checkpoint);
  check_index();
  place();
  choose_threads();
  choose_head();
  check_memory();
  load_weights();
  // From here on one replica may wait for another as long as that has work.
  if (grid_.replicas > 1) world_->set_stall_timeout(0);
}

void HostedModel::compare_ranks() {
  const std::string build = std::string(version()) + " (" + build_commit() + ", " + build_summary() + ")";
  agree_on(*world_, "build of libstagformer", std::hash<std::string>{}(build), build);
  const CallId options = id_of_load(wanted_);
  agree_on(*world_, "set of load options", options.digest, options.text);
  agree(*world_, [&] {
    check_load_options(wanted_);
    if (on_mpi_ && wanted_.threads > 1 && !mpi_allows_threads())
      throw CommError("MPI was initialised with MPI_THREAD_SINGLE, but this rank is to have " +
                      std::to_string(wanted_.threads) + " threads: ask for MPI_THREAD_FUNNELED");
  });
}

/// Rank 0 reads the index and hands it round; what lies at another rank's path must be the same.
void HostedModel::read_index(const std::string& checkpoint) {
  Bytes bytes;
  agree(*world_, [&] {
    if (world_->rank() == 0) bytes = read_checkpoint_index(checkpoint).serialize();
  });
  bytes = world_->broadcast(std::move(bytes), 0);
  agree(*world_, [&] {
    index_ = CheckpointIndex::deserialize(bytes);
    index_.path = checkpoint;
    TensorReader(index_, false).check_files();
    if (index_.tokenizer_type.empty())
      throw CheckpointError(checkpoint + ": the checkpoint holds no tokenizer");
    tokenizer_ = make_tokenizer(index_.tokenizer_type, index_.tokenizer_model);
  });
}

void HostedModel::check_index() {
  agree(*world_, [&] {
    const std::int64_t most = config().max_position_embeddings;
    if (wanted_.context > most)
      throw InputError("a context of " + std::to_string(wanted_.context) + " is more than the model's " +
                       std::to_string(most));
    if (wanted_.draft > 0 && !config().draft_refusal().empty()) throw ConfigError(config().draft_refusal());
    grid_ = make_grid(world_->size(), config().sections.count);
    options_.slots = wanted_.batch;
    options_.context = wanted_.context > 0 ? wanted_.context : most;
    options_.chunk = wanted_.chunk;
    options_.draft = wanted_.draft;
    options_.score_all_rows = true;
  });
}

void HostedModel::place() {
  split_world();
  instruction_set_ = best_instruction_set();
  for (const int other : gather_values(*world_, instruction_set_))
    instruction_set_ = std::min(instruction_set_, other);
  use_instruction_set(instruction_set_);
}

void HostedModel::split_world() {
  const double timeout_s = world_->stall_timeout_s();
  world_->set_stall_timeout(0);  // whose guard would end the process
  replica_ = world_->split(grid_.replica_of(world_->rank()));
  world_->set_stall_timeout(timeout_s);
  replica_->set_stall_timeout(wanted_.stall_timeout_s);
}

/// As the program does: the option, else OMP_NUM_THREADS, else the usable cores divided by the ranks that
/// share them.
void HostedModel::choose_threads() {
  struct Share {
    std::uint64_t host, cores;
    bool operator==(const Share&) const = default;
  };
  const std::vector<int> cores = usable_cores();
  const std::hash<std::string> hash;
  const Share mine{hash(world_->host_name()), hash(core_list(cores))};
  const std::vector<Share> all = gather_values(*world_, mine);
  const auto sharers = static_cast<int>(std::ranges::count(all, mine));
  ranks_on_host_ = static_cast<int>(std::ranges::count(all, mine.host, &Share::host));
  const char* environment = std::getenv("OMP_NUM_THREADS");
  int threads = wanted_.threads > 0 ? wanted_.threads : environment ? std::atoi(environment) : 0;
  if (threads <= 0) threads = std::max(1, static_cast<int>(cores.size()) / sharers);
  if (on_mpi_ && !mpi_allows_threads()) threads = 1;
  options_.threads = threads;
  const bool is_crowded = threads * sharers > static_cast<int>(cores.size());
  team_ = std::make_unique<ThreadTeam>(threads, ThreadTeam::kSerialWork, is_crowded);
  const std::vector<int> crowded = gather_values(*world_, is_crowded ? 1 : 0);
  const bool is_any_crowded = std::ranges::count(crowded, 1) > 0;
  world_->set_yield(is_any_crowded);
  replica_->set_yield(is_any_crowded);
}

/// As --head auto; the tokens are the same either way.
void HostedModel::choose_head() {
  options_.head = HeadMode::sliced;
  if (replica_->size() > 1 && wanted_.draft > 0) options_.head = HeadMode::last;
  if (replica_->size() > 1 && wanted_.draft == 0) {
    const DatasetInfo& head = index_.datasets.at(head_name(config()));
    const double latency_s = measure_latency_s(*replica_);
    const double head_s = measure_head_s(head.format, config().vocab_size, config().hidden_size, *team_);
    options_.head = gather_values(*world_, choose_head_mode(latency_s, head_s, replica_->size()).mode)[0];
  }
  part_ = rank_part(config(), grid_, replica_->rank(), options_.head);
}

void HostedModel::check_memory() {
  agree(*world_, [&] {
    plan_ = RankModel::plan(index_, part_, options_);
    const std::int64_t limit =
        wanted_.memory_limit > 0 ? wanted_.memory_limit : available_memory() / ranks_on_host_;
    if (plan_.total() <= limit) return;
    throw MemoryError(plan_.text(options_) + " but " +
                      (wanted_.memory_limit > 0 ? "memory_limit allows " : "a rank has free ") +
                      format_bytes(limit) + "; use more ranks, a smaller batch or a shorter context");
  });
}

void HostedModel::load_weights() {
  agree(*world_, [&] {
    TensorReader reader(index_, wanted_.verify);
    model_ = std::make_unique<RankModel>(index_, part_, reader, *team_, RankModel::Progress());
    make_engine();
  });
  world_->barrier();
}

void HostedModel::make_engine() {
  engine_ = std::make_unique<Engine>(*replica_, grid_, *model_, options_, *team_,
                                     Evaluator::lookahead_of(part_), 0);
}

// The new engine has a communicator of its own: nothing that the old one's left behind can reach it.
void HostedModel::renew() {
  const bool yields = replica_->yields();
  world_->barrier();
  engine_.reset();
  replica_->set_stall_timeout(0);
  split_world();
  replica_->set_yield(yields);
  agree(*world_, [&] { make_engine(); });
}

Placement HostedModel::placement() const {
  Placement here;
  here.rank = world_->rank();
  here.ranks = world_->size();
  here.replica = grid_.replica_of(here.rank);
  here.replicas = grid_.replicas;
  here.first_section = part_.first_section;
  here.sections = part_.sections;
  here.threads = options_.threads;
  here.weight_bytes = model_->weight_bytes();
  here.cache_bytes = plan_.caches;
  return here;
}

}  // namespace stagformer::internal
