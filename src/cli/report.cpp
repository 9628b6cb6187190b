#include "cli/report.hpp"

#include <sys/utsname.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>

#include "base/build_info.hpp"
#include "base/host_info.hpp"
#include "base/text_table.hpp"
#include "checkpoint/hdf5_version.hpp"
#include "cli/model_run.hpp"
#include "kernels/blas.hpp"

namespace stagformer::internal {
namespace {

double of(const RankTimes& times, Phase phase) {
  return times.phases[static_cast<std::size_t>(phase)];
}

std::string section_range(int first, int count) {
  return count == 1 ? std::to_string(first) : std::to_string(first) + "-" + std::to_string(first + count - 1);
}

std::string cpu_model() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown";
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

const char* name_of(Link link) {
  return link == Link::staggered ? "staggered" : "chained";
}

std::string links_text(const ModelConfig& config) {
  std::string text;
  for (const Link link : config.sections.links) text += std::string(text.empty() ? "" : ", ") + name_of(link);
  return text.empty() ? "none" : text;
}

}  // namespace

RankTimes rank_times(Engine& engine, const Transport& replica, double seconds) {
  engine.clock().enter(Phase::other);
  RankTimes times;
  times.seconds = seconds;
  times.phases = engine.clock().seconds();
  times.messages_sent = replica.messages_sent();
  times.bytes_sent = replica.bytes_sent();
  times.passes = engine.passes();
  return times;
}

std::vector<std::string> header_lines(const Transport& world, const std::string& command,
                                      const std::string& instruction_set, const std::string& kernels) {
  return {"stagformer " + std::string(version()) + " (" + build_commit() + "; " + build_summary() + ")",
          world.library() + "; HDF5 " + hdf5_library_version() + "; OpenBLAS " + blas_library_version() +
              " (" + blas_core_name() + ")" + (kernels == "blas" ? " for all products" : ", not in use"),
          cpu_model() + ", kernels for " + instruction_set, "command: " + command};
}

std::vector<std::string> model_lines(const CheckpointIndex& index, const Grid& grid) {
  const ModelConfig& c = index.config;
  std::string layers;
  for (const int h : c.sections.layers_per_section) layers += (layers.empty() ? "" : "+") + std::to_string(h);
  return {"checkpoint " + index.path + ": " + std::to_string(c.sections.count) + " section(s) of " + layers +
              " layers, links " + links_text(c) + ", d " + std::to_string(c.hidden_size) + ", vocabulary " +
              std::to_string(c.vocab_size) + ", context " + std::to_string(c.max_position_embeddings) +
              ", tokenizer " + index.tokenizer_type,
          "grid: " + std::to_string(grid.world) + " rank(s), " + std::to_string(grid.replicas) +
              " replica(s) of " + std::to_string(grid.ranks_per_replica()) + " rank(s), " +
              std::to_string(grid.sections_per_rank()) + " section(s) a rank"};
}

std::vector<std::string> rank_lines(const std::vector<RankFacts>& ranks) {
  TextTable table({"rank", "host", "cores", "threads", "replica", "sections", "weights", "caches", "load s"});
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    const RankFacts& f = ranks[r];
    table.add({std::to_string(r), f.host, core_list(f.cores), std::to_string(f.threads),
               std::to_string(f.replica), section_range(f.first_section, f.sections),
               format_bytes(f.weight_bytes), format_bytes(f.cache_bytes), fixed(f.load_s, 2)});
  }
  return table.lines();
}

RunUse run_use(const std::vector<RankTimes>& times, const std::vector<RankFacts>& ranks,
               const ModelConfig& config, const EngineOptions& options) {
  RunUse run;
  for (std::size_t r = 0; r < times.size(); ++r) {
    const RankFacts& f = ranks[r];
    // What sleeps instead of computing needs no core.
    run.ranks.push_back({f.host, f.replica, f.first_section, f.sections, f.threads,
                         f.oversubscribed && !options.emulated, f.weight_bytes, times[r].phases});
    run.passes = std::max(run.passes, times[r].passes);
  }
  run.head = options.head;
  run.schedule = options.schedule;
  run.chained = std::ranges::find(config.sections.links, Link::chained) != config.sections.links.end();
  run.can_draft = options.draft == 0 && options.decode == DecodeMode::exact && config.draft_refusal().empty();
  run.draft = options.draft;
  run.sequences = options.slots;
  run.state_bytes = options.step_rows() * config.hidden_size * static_cast<std::int64_t>(sizeof(float));
  return run;
}

std::vector<std::string> time_lines(const std::vector<RankTimes>& times,
                                    const std::vector<RankFacts>& ranks) {
  TextTable table({"rank", "sections", "total s", "self-att %", "cross-att %", "feed-fwd %", "head %",
                   "wait memory %", "wait input %", "wait z %", "wait candidates %", "wait send %", "other %",
                   "sent"});
  for (std::size_t r = 0; r < times.size(); ++r) {
    const RankTimes& t = times[r];
    double total = 0;
    for (const double seconds : t.phases) total += seconds;
    const auto share = [&](double seconds) { return fixed(total > 0 ? 100 * seconds / total : 0, 1); };
    table.add({std::to_string(r), section_range(ranks[r].first_section, ranks[r].sections), fixed(total, 3),
               share(of(t, Phase::self_attention)),
               share(of(t, Phase::cross_attention) + of(t, Phase::memory_projection)),
               share(of(t, Phase::feed_forward)), share(of(t, Phase::head)), share(of(t, Phase::wait_memory)),
               share(of(t, Phase::wait_input)), share(of(t, Phase::wait_z)),
               share(of(t, Phase::wait_candidates)), share(of(t, Phase::wait_send)),
               share(of(t, Phase::other) + of(t, Phase::embedding) + of(t, Phase::sampling)),
               format_bytes(static_cast<std::int64_t>(t.bytes_sent))});
  }
  return table.lines();
}

nlohmann::json provenance(const Transport& world, const std::string& command,
                          const std::string& instruction_set) {
  utsname system{};
  uname(&system);
  return {{"program", "stagformer"},
          {"version", version()},
          {"commit", build_commit()},
          {"build", build_summary()},
          {"mpi", world.library()},
          {"hdf5", hdf5_library_version()},
          {"blas", blas_library_version()},
          {"kernels", instruction_set},
          {"cpu", cpu_model()},
          {"system", std::string(system.sysname) + " " + system.release},
          {"command", command},
          {"time", utc_now()},
          {"world_size", world.size()}};
}

nlohmann::json model_record(const CheckpointIndex& index, const Grid& grid) {
  char digest[20];
  std::snprintf(digest, sizeof digest, "%016llx", static_cast<unsigned long long>(index.digest()));
  return {{"checkpoint", index.path},
          {"digest", digest},
          {"config", nlohmann::json::parse(index.config.to_json())},
          {"replicas", grid.replicas},
          {"ranks_per_replica", grid.ranks_per_replica()}};
}

nlohmann::json times_record(const RankTimes& times) {
  nlohmann::json phases;
  for (std::size_t p = 0; p < kPhases; ++p) phases[name_of(static_cast<Phase>(p))] = times.phases[p];
  return {{"seconds", times.seconds},
          {"phases_s", phases},
          {"messages_sent", times.messages_sent},
          {"bytes_sent", times.bytes_sent},
          {"passes", times.passes}};
}

double percentile(std::vector<float> values, double percent) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const double rank = percent / 100 * static_cast<double>(values.size());
  const auto index = static_cast<std::size_t>(std::max(0.0, std::ceil(rank) - 1));
  return values[std::min(index, values.size() - 1)];
}

}  // namespace stagformer::internal
