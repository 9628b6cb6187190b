#include "cli/written_checkpoint.hpp"

#include <spdlog/spdlog.h>

#include "base/host_info.hpp"
#include "base/phase_clock.hpp"

namespace stagformer::internal {

void WrittenCheckpoint::visit(SettingsVisitor& v) {
  v.text("output", output, "The checkpoint to write", true);
  v.choice("to", to, {"same", "f32", "bf16", "q8_0", "q4_0", "q4_1"}, "Number format of the matrices");
  v.flag("split", split, "Write each section to a file of its own beside the root file");
  v.integer("alignment", alignment, 1, 1 << 30, "Alignment of the datasets in bytes");
  v.choice("log-level", log_level, {"debug", "info", "warning", "error", "off"}, "What is logged to stderr");
}

std::optional<NumberFormat> WrittenCheckpoint::format() const {
  return to == "same" ? std::nullopt : std::optional(number_format_from(to));
}

std::function<void(std::int64_t, std::int64_t)> log_bytes_done() {
  constexpr double kEvery = 2;
  return [next = now_seconds() + kEvery](std::int64_t done, std::int64_t total) mutable {
    if (now_seconds() < next) return;
    next = now_seconds() + kEvery;
    spdlog::info("{} of {}", format_bytes(done), format_bytes(total));
  };
}

void log_written(const std::vector<std::string>& warnings, const std::vector<std::string>& kept,
                 const std::string& summary, const std::vector<std::string>& files) {
  for (const std::string& warning : warnings) spdlog::warn("{}", warning);
  for (const std::string& name : kept)
    spdlog::warn("{} keeps its number format: its rows are no multiple of 32 values", name);
  spdlog::info("{}", summary);
  for (const std::string& file : files) spdlog::info("wrote {}", file);
}

}  // namespace stagformer::internal
