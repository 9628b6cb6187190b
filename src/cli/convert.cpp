// stagformer convert: one checkpoint from another, in another number format, or cut into files.
#include <spdlog/spdlog.h>

#include "base/host_info.hpp"
#include "base/phase_clock.hpp"
#include "checkpoint/convert.hpp"
#include "cli/command.hpp"

namespace stagformer::internal {
namespace {

class ConvertCommand final : public Command {
 public:
  const char* name() const override { return "convert"; }
  const char* summary() const override {
    return "Convert a checkpoint: number format, one file or one a section";
  }
  bool runs_a_model() const override { return false; }

  void visit(SettingsVisitor& v) override {
    v.text("input", input_, "The checkpoint to read", true);
    v.text("output", output_, "The checkpoint to write", true);
    v.choice("to", to_, {"same", "f32", "bf16", "q8_0", "q4_0", "q4_1"}, "Number format of the matrices");
    v.flag("split", split_, "Write each section to a file of its own beside the root file");
    v.integer("alignment", alignment_, 1, 1 << 30, "Alignment of the datasets in bytes");
    v.choice("log-level", log_level_, {"debug", "info", "warning", "error", "off"},
             "What is logged to stderr");
  }

  ExitCode run(const MpiSession*, const std::string&) override {
    ConvertOptions options;
    options.input = *input_;
    options.output = *output_;
    if (to_ != "same") options.to = number_format_from(to_);
    options.split = split_;
    options.alignment = alignment_;
    options.progress = [next = now_seconds() + 2](std::int64_t done, std::int64_t total) mutable {
      if (now_seconds() < next) return;
      next = now_seconds() + 2;
      spdlog::info("{} of {}", format_bytes(done), format_bytes(total));
    };
    report(convert_checkpoint(options));
    return ExitCode::success;
  }

 private:
  static void report(const ConvertReport& done) {
    for (const std::string& warning : done.warnings) spdlog::warn("{}", warning);
    for (const std::string& name : done.kept)
      spdlog::warn("{} keeps its number format: its rows are no multiple of 32 values", name);
    spdlog::info("{} datasets ({} converted, {} shared), {} to {}", done.stored_datasets, done.converted,
                 done.linked_datasets, format_bytes(done.input_bytes), format_bytes(done.output_bytes));
    for (const std::string& file : done.files) spdlog::info("wrote {}", file);
  }

  std::optional<std::string> input_, output_;
  std::string to_ = "same";
  bool split_ = false;
  std::int64_t alignment_ = 4096;
  std::string log_level_ = "info";
};

}  // namespace

std::unique_ptr<Command> make_convert_command() {
  return std::make_unique<ConvertCommand>();
}

}  // namespace stagformer::internal
