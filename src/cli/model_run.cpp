#include "cli/model_run.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ranges>

#include "base/build_info.hpp"
#include "base/host_info.hpp"
#include "cli/files.hpp"
#include "cli/log.hpp"
#include "cli/report.hpp"
#include "kernels/blas.hpp"
#include "kernels/kernels.hpp"
#include "pipeline/agreement.hpp"
#include "pipeline/head_choice.hpp"

namespace stagformer::internal {
namespace {

constexpr std::size_t kTraceSpans = 200000;

/// Settings that may differ from rank to rank: where things are and what is printed, not what is computed.
nlohmann::json shared_settings(const VisitSettings& visit) {
  nlohmann::json record = settings_record(visit);
  for (const char* key :
       {"checkpoint", "random", "emulate", "calibrate", "json", "trace", "output", "prompts", "text", "pairs",
        "choices", "requests", "per-token", "per-item", "log-level", "memory-limit", "threads"})
    record.erase(key);
  return record;
}

nlohmann::json to_json(const RankFacts& facts) {
  auto record = placement_record<nlohmann::json>(facts);
  record.update(
      {{"weight_bytes", facts.weight_bytes}, {"cache_bytes", facts.cache_bytes}, {"load_s", facts.load_s}});
  return record;
}

RankFacts facts_from(const nlohmann::json& j) {
  return {j["host"],          j["cores"],    j["threads"],      j["oversubscribed"], j["replica"],
          j["first_section"], j["sections"], j["weight_bytes"], j["cache_bytes"],    j["load_s"]};
}

}  // namespace

ModelRun::ModelRun(const MpiSession& session, RunSettings& settings, VisitSettings all_settings,
                   const std::string& command, std::unique_ptr<ModelSource> source)
    : session_(session),
      settings_(settings),
      all_settings_(std::move(all_settings)),
      command_(command),
      source_(source ? std::move(source) : checkpoint_source(settings.checkpoint.value())) {
  world_ = session.world();
}

ModelRun::~ModelRun() = default;

void ModelRun::open() {
  const double begin = now_seconds();
  check_same_everywhere();
  read_index();
  place();
  choose_threads();
  open_s_ = now_seconds() - begin;
}

void ModelRun::check_same_everywhere() {
  const std::uint64_t fingerprint = program_fingerprint();
  agree_on(*world_, "build", fingerprint,
           std::string(version()) + " (" + build_commit() + ", program and library " +
               hexadecimal(fingerprint) + ")");
  const std::string own =
      shared_settings(all_settings_).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  const Bytes roots = world_->broadcast(to_bytes(own), 0);
  agree(*world_, [&] {
    const auto mine = nlohmann::json::parse(own), other = nlohmann::json::parse(to_text(roots));
    for (const auto& [name, value] : mine.items())
      if (value != other.at(name))
        throw CommError("--" + name + " is " + value.dump() + " here but " + other.at(name).dump() +
                        " on rank 0");
  });
}

/// Rank 0 reads the index and hands it round. Where a rank was started with another path, what lies there
/// must be the same.
void ModelRun::read_index() {
  Bytes bytes;
  agree(*world_, [&] {
    if (!is_root()) return;
    for (const auto& path : {settings_.json, settings_.trace})
      if (path) check_writable(*path);
    index_ = source_->read_index();
    const std::vector<std::byte> serialized = index_.serialize();
    bytes.assign(serialized.begin(), serialized.end());
  });
  bytes = world_->broadcast(std::move(bytes), 0);
  agree(*world_, [&] {
    index_ = CheckpointIndex::deserialize(bytes);
    source_->adopt(index_);
    tokenizer_ = make_tokenizer(index_.tokenizer_type, index_.tokenizer_model);
    if (settings_.decode == "recurrent" && !index_.config.recurrent_refusal().empty())
      throw ConfigError(index_.config.recurrent_refusal());
    for (const SectionDelay& delay : settings_.engine_options().delays)
      if (delay.section >= index_.config.sections.count)
        throw UsageError("--delay-section: the model has no section " + std::to_string(delay.section));
  });
  for (const std::string& warning : index_.warnings)
    if (is_root()) spdlog::warn("{}", warning);
}

void ModelRun::place() {
  agree(*world_, [&] {
    std::optional<int> replicas;
    if (settings_.replicas) replicas = static_cast<int>(*settings_.replicas);
    grid_ = make_grid(world_->size(), index_.config.sections.count, replicas);
  });
  replica_ = world_->split(replica_number());
  int level = best_instruction_set();
  for (const int other : gather_values(*world_, level)) level = std::min(level, other);
  use_instruction_set(level);
  instruction_set_ = instruction_set_name(level);
  use_matmul_kernels(settings_.kernels == "blas" ? MatmulKernels::blas : MatmulKernels::native);
  use_activations(settings_.activations == "f32" ? ActivationFormat::f32 : ActivationFormat::int8);
}

/// Threads: the flag, else OMP_NUM_THREADS, else the usable cores divided by the ranks of the host that share
/// them.
void ModelRun::choose_threads() {
  facts_.host = world_->host_name();
  facts_.cores = usable_cores();
  nlohmann::json mine = {{"leader", session_.host_leader()}, {"cores", facts_.cores}};
  const char* environment = std::getenv("OMP_NUM_THREADS");
  const int from_environment = environment ? std::atoi(environment) : 0;
  std::vector<nlohmann::json> all;
  for (const Bytes& bytes : world_->all_gather(to_bytes(mine.dump())))
    all.push_back(nlohmann::json::parse(to_text(bytes)));
  int sharers = 0;
  for (const auto& other : all) sharers += other == mine;
  if (settings_.threads) {
    facts_.threads = static_cast<int>(*settings_.threads);
    thread_source_ = "--threads";
  } else if (from_environment > 0) {
    facts_.threads = from_environment;
    thread_source_ = "OMP_NUM_THREADS";
  } else {
    facts_.threads = std::max(1, static_cast<int>(facts_.cores.size()) / std::max(1, sharers));
    thread_source_ = "usable cores divided by the ranks that share them";
  }
  facts_.oversubscribed = facts_.threads * sharers > static_cast<int>(facts_.cores.size());
  team_ = std::make_unique<ThreadTeam>(facts_.threads, ThreadTeam::kSerialWork, facts_.oversubscribed);
  bool any = false;
  for (const Bytes& bytes : world_->all_gather(Bytes(1, std::byte(facts_.oversubscribed))))
    any |= bytes[0] != std::byte{0};
  world_->set_yield(any);
  replica_->set_yield(any);
  if (facts_.oversubscribed)
    spdlog::warn("rank {} on {}: {} threads of {} rank(s) share core(s) {}; waits give the core away",
                 world_->rank(), facts_.host, facts_.threads * sharers, sharers, core_list(facts_.cores));
}

void ModelRun::load(EngineOptions options, bool scoring, bool sequences_may_wait) {
  options_ = std::move(options);
  options_.threads = facts_.threads;
  choose_head();
  part_ = rank_part(config(), grid_, replica_->rank(), options_.head);
  lookahead_ = scoring ? part_.ranks - 1 - part_.rank : 0;
  facts_.replica = replica_number();
  facts_.first_section = part_.first_section;
  facts_.sections = part_.sections;
  const std::int64_t limit = memory_limit();
  if (sequences_may_wait) fit_slots(limit);
  check_memory(limit);
  log_header();
  const double begin = now_seconds();
  agree(*world_, [&] {
    if (options_.emulated) {
      model_ = std::make_unique<RankModel>(index_, part_);
    } else {
      const std::unique_ptr<TensorReader> reader =
          source_->open(index_, !settings_.no_verify, facts_.threads);
      model_ = std::make_unique<RankModel>(index_, part_, *reader, *team_, load_progress());
    }
    engine_ = std::make_unique<Engine>(*replica_, grid_, *model_, options_, *team_, lookahead_,
                                       settings_.trace ? kTraceSpans : 0);
  });
  facts_.load_s = now_seconds() - begin;
  facts_.weight_bytes = model_->weight_bytes();
  facts_.cache_bytes = plan_.caches;
  all_facts_ = gather_facts();
  log_ranks();
  if (settings_.trace) trace_clock_.measure(*world_);
  world_->barrier();
  engine_->clock().reset();
}

/// --head auto: the sliced head saves most of its time and costs one more latency; rank 0 measures both and
/// decides.
void ModelRun::choose_head() {
  head_reason_ = options_.head == HeadMode::sliced ? "sliced, as asked" : "last, as asked";
  if (options_.head != HeadMode::automatic) return;
  if (replica_->size() == 1) {
    options_.head = HeadMode::sliced;
    head_reason_ = "one rank holds it";
    return;
  }
  if (options_.draft > 0) {
    options_.head = HeadMode::last;
    head_reason_ = "auto: guesses are chosen by the rank of the last section";
    return;
  }
  const double latency = measure_latency_s(*replica_);
  const DatasetInfo& head =
      index_.datasets.at(config().tie_word_embeddings ? "embedding/weight" : "head/weight");
  const double head_time = measure_head_s(head.format, config().vocab_size, config().hidden_size, *team_);
  HeadChoice choice = choose_head_mode(latency, head_time, replica_->size());
  Bytes bytes(sizeof choice.mode);
  std::memcpy(bytes.data(), &choice.mode, sizeof choice.mode);
  bytes = world_->broadcast(std::move(bytes), 0);
  std::memcpy(&options_.head, bytes.data(), sizeof options_.head);
  head_reason_ = choice.reason;
}

/// Bytes that this rank may take.
std::int64_t ModelRun::memory_limit() {
  std::int64_t limit = 0;
  agree(*world_, [&] {
    limit = settings_.memory_limit ? parse_bytes("memory-limit", *settings_.memory_limit)
                                   : available_memory() / std::max(1, session_.local_size());
  });
  return limit;
}

/// As many sequences at a time as every rank has memory for, one at least.
void ModelRun::fit_slots(std::int64_t limit) {
  const int wanted = options_.slots;
  int slots = wanted;
  agree(*world_, [&] {
    const auto fits = [&](int number) {
      EngineOptions options = options_;
      options.slots = number;
      return RankModel::plan(index_, part_, options).total() <= limit;
    };
    const auto numbers = std::views::iota(1, wanted + 1);
    slots = static_cast<int>(std::ranges::partition_point(numbers, fits) - numbers.begin());
  });
  for (const int other : gather_values(*world_, slots)) slots = std::min(slots, other);
  options_.slots = std::max(slots, 1);
  if (options_.slots < wanted && is_root())
    spdlog::warn(
        "memory holds the caches of {} sequence(s) of {} positions at a time, not of {}: others wait",
        options_.slots, options_.context, wanted);
}

void ModelRun::check_memory(std::int64_t limit) {
  agree(*world_, [&] {
    plan_ = RankModel::plan(index_, part_, options_);
    const bool given = settings_.memory_limit.has_value();
    if (plan_.total() <= limit) return;
    throw MemoryError(plan_.text(options_) + " but " +
                      (given ? "--memory-limit allows " : "this host has free for a rank ") +
                      format_bytes(limit) +
                      "; use more ranks, a smaller --batch, a shorter context or a smaller number format");
  });
}

RankModel::Progress ModelRun::load_progress() const {
  if (!is_root()) return {};
  return [next = 1.0, start = now_seconds()](std::int64_t done, std::int64_t total) mutable {
    const double elapsed = now_seconds() - start;
    if (elapsed < next || total == 0) return;
    next = elapsed + 2;
    spdlog::info("loading: {} of {} ({:.0f} %)", format_bytes(done), format_bytes(total),
                 100.0 * static_cast<double>(done) / static_cast<double>(total));
  };
}

void ModelRun::log_header() {
  if (!is_root()) return;
  log_lines(header_lines(*world_, command_, instruction_set_, settings_.kernels));
  log_lines(model_lines(index_, grid_));
  spdlog::info(
      "schedule {}, decode {}, head {} ({}), {} sequence(s) of up to {} positions, chunks of {}, threads "
      "from {}",
      settings_.schedule, settings_.decode, options_.head == HeadMode::last ? "last" : "sliced", head_reason_,
      options_.slots, options_.context, options_.chunk, thread_source_);
  const nlohmann::json settings = settings_record(all_settings_);
  if (settings.contains("seed")) spdlog::info("seed {}", settings["seed"].dump());
  const std::string better = better_blas_core();
  if (!better.empty() && settings_.kernels == "blas")
    spdlog::warn("OpenBLAS runs its {} kernels on this machine; start with OPENBLAS_CORETYPE={} for speed",
                 blas_core_name(), better);
}

std::vector<RankFacts> ModelRun::gather_facts() {
  std::vector<RankFacts> all;
  for (const Bytes& bytes : world_->all_gather(to_bytes(to_json(facts_).dump())))
    all.push_back(facts_from(nlohmann::json::parse(to_text(bytes))));
  return all;
}

void ModelRun::log_ranks() {
  if (!is_root()) return;
  log_lines(rank_lines(all_facts_));
}

/// Collective.
void ModelRun::write_trace() {
  trace_clock_.measure(*world_);
  const std::vector<RankTrace> ranks = gather_trace(*world_, engine_->trace(), trace_clock_);
  agree(*world_, [&] {
    if (!is_root()) return;
    write_file_atomically(*settings_.trace, trace_json(ranks, grid_));
    std::uint64_t dropped = 0;
    for (const RankTrace& rank : ranks) dropped = std::max(dropped, rank.dropped);
    if (dropped > 0)
      spdlog::warn("{}: a rank keeps {} spans, {} later records were left out", *settings_.trace, kTraceSpans,
                   dropped);
  });
}

void ModelRun::report(double seconds, const nlohmann::json& result) {
  const RankTimes mine = rank_times(*engine_, *replica_, seconds);
  const std::vector<RankTimes> all = gather_values(*world_, mine);
  std::vector<std::string> notes;
  if (is_root()) {
    log_lines(time_lines(all, all_facts_));
    notes = run_notes(run_use(all, all_facts_, config(), options_));
    for (const std::string& note : notes) spdlog::info("note: {}", note);
  }
  if (settings_.trace) write_trace();
  agree(*world_, [&] {
    if (!is_root()) return;
    if (!settings_.json) return;
    nlohmann::json record = provenance(*world_, command_, instruction_set_);
    record["settings"] = settings_record(all_settings_);
    record["model"] = model_record(index_, grid_);
    record["head"] = options_.head == HeadMode::last ? "last" : "sliced";
    record["context"] = options_.context;
    record["sequences"] = options_.slots;
    record["ranks"] = nlohmann::json::array();
    for (std::size_t r = 0; r < all.size(); ++r) {
      nlohmann::json rank = to_json(all_facts_[r]);
      rank["rank"] = r;
      rank["times"] = times_record(all[r]);
      record["ranks"].push_back(rank);
    }
    record["notes"] = notes;
    record["result"] = result;
    write_file_atomically(*settings_.json,
                          record.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  });
}

}  // namespace stagformer::internal
