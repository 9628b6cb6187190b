#include "cli/run_settings.hpp"

#include <charconv>

#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

/// "SECTION:MILLISECONDS", sections from 0.
SectionDelay parse_delay(const std::string& text) {
  SectionDelay delay;
  double milliseconds = 0;
  const char* end = text.data() + text.size();
  const auto [colon, section_error] = std::from_chars(text.data(), end, delay.section);
  if (section_error == std::errc() && colon != end && *colon == ':') {
    const auto [rest, error] = std::from_chars(colon + 1, end, milliseconds);
    if (error == std::errc() && rest == end && milliseconds >= 0 && milliseconds < 1e9 &&
        delay.section >= 0) {
      delay.seconds = milliseconds / 1000;
      return delay;
    }
  }
  throw UsageError("--delay-section: '" + text + "' is not SECTION:MILLISECONDS");
}

}  // namespace

void RunSettings::visit(SettingsVisitor& visitor) {
  visitor.text("checkpoint", checkpoint, "The model: an HDF5 checkpoint", true);
  visitor.choice("schedule", schedule, {"staggered", "sequential"},
                 "Sections at the same time, or one after another");
  visitor.integer("threads", threads, 1, kMostThreads,
                  "Threads a rank (default: OMP_NUM_THREADS, else the rank's share of cores)");
  visitor.integer("batch", batch, 1, kMostSequences, "Most sequences at a time in a replica");
  visit_rest(visitor);
}

void RunSettings::visit_rest(SettingsVisitor& visitor) {
  visitor.choice("decode", decode, {"exact", "recurrent"},
                 "All passes, or the last pass alone after the prompt");
  visitor.choice("head", head, {"auto", "sliced", "last"},
                 "The head cut over all ranks, or whole on the last one");
  visitor.choice("kernels", kernels, {"native", "blas"},
                 "Matrix products: own kernels, or OpenBLAS as a cross-check");
  visitor.choice("activations", activations, {"int8", "f32"},
                 "What 8- and 4-bit weights are multiplied with: int8 blocks, or f32 (slow, exact)");
  visitor.choice("cache", cache, {"f32", "bf16"},
                 "Number format of cached keys and values; bf16 halves memory and rounds them");
  visitor.integer("replicas", replicas, 1, 1 << 20, "Copies of the model (default: from the world's size)");
  visitor.integer("chunk", chunk, 1, 65536, "Prompt positions that go through a section at once");
  visitor.text("memory-limit", memory_limit,
               "Bytes a rank may take, as 8589934592 or 8G (default: its share of what is free)");
  visitor.flag("no-verify", no_verify, "Do not compare the checkpoint's checksums on load");
  visitor.text("json", json, "Write the run's record to this file");
  visitor.text("trace", trace, "Write a Chrome/Perfetto trace of all ranks to this file");
  visitor.number("stall-timeout", stall_timeout, 0, 1e9,
                 "Seconds after which a wait ends the job; 0 = never");
  visitor.choice("log-level", log_level, {"debug", "info", "warning", "error", "off"},
                 "What is logged to stderr");
  visitor.list("delay-section", delay_section,
               "SECTION:MILLISECONDS to sleep before that section's layers, for studies (repeatable)");
}

void RunSettings::check() const {
  (void)engine_options();
  if (memory_limit) (void)parse_bytes("memory-limit", *memory_limit);
}

EngineOptions RunSettings::engine_options() const {
  EngineOptions options;
  options.schedule = schedule == "staggered" ? Schedule::staggered : Schedule::sequential;
  options.decode = decode == "exact" ? DecodeMode::exact : DecodeMode::recurrent;
  options.head = head == "auto" ? HeadMode::automatic : head == "sliced" ? HeadMode::sliced : HeadMode::last;
  options.chunk = chunk;
  options.cache_format = cache == "bf16" ? CacheFormat::bf16 : CacheFormat::f32;
  for (const std::string& text : delay_section) options.delays.push_back(parse_delay(text));
  return options;
}

NumberFormat weights_setting(const std::string& name) {
  try {
    return number_format_from(name);
  } catch (const ConfigError&) {
    throw UsageError("--weights: '" + name + "' is none of f32, bf16, q8_0, q4_0, q4_1");
  }
}

}  // namespace stagformer::internal
