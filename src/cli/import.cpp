// stagformer import: a checkpoint from a GGUF file or a folder of Hugging Face's.
#include "import/import.hpp"

#include <spdlog/spdlog.h>

#include "base/host_info.hpp"
#include "base/phase_clock.hpp"
#include "cli/command.hpp"

namespace stagformer::internal {
namespace {

class ImportCommand final : public Command {
 public:
  const char* name() const override { return "import"; }
  const char* summary() const override {
    return "Make a checkpoint from a model of the Llama family (GGUF, or a folder of Hugging Face's)";
  }
  bool runs_a_model() const override { return false; }

  void visit(SettingsVisitor& v) override {
    v.text("input", input_, "The GGUF file, or the folder with config.json and *.safetensors", true);
    v.text("output", output_, "The checkpoint to write", true);
    v.integer("sections", sections_, 1, 1 << 16,
              "Chained sections that the layers are cut into (default: 1)");
    v.text("layers-per-section", layers_per_section_, "Layers of each section, such as 10,20");
    v.choice("to", to_, {"same", "f32", "bf16", "q8_0", "q4_0", "q4_1"}, "Number format of the matrices");
    v.flag("no-tokenizer", no_tokenizer_, "Import the weights alone");
    v.flag("split", split_, "Write each section to a file of its own beside the root file");
    v.integer("alignment", alignment_, 1, 1 << 30, "Alignment of the datasets in bytes");
    v.choice("log-level", log_level_, {"debug", "info", "warning", "error", "off"},
             "What is logged to stderr");
  }

  ExitCode run(const MpiSession*, const std::string&) override {
    ImportOptions options;
    options.input = *input_;
    options.output = *output_;
    options.sections = sections_;
    options.layers_per_section = layers_per_section_;
    if (to_ != "same") options.to = number_format_from(to_);
    options.with_tokenizer = !no_tokenizer_;
    options.split = split_;
    options.alignment = alignment_;
    options.progress = [next = now_seconds() + 2](std::int64_t done, std::int64_t total) mutable {
      if (now_seconds() < next) return;
      next = now_seconds() + 2;
      spdlog::info("{} of {}", format_bytes(done), format_bytes(total));
    };
    report(import_model(options));
    return ExitCode::success;
  }

 private:
  static void report(const ImportReport& done) {
    for (const std::string& warning : done.warnings) spdlog::warn("{}", warning);
    for (const std::string& name : done.kept)
      spdlog::warn("{} keeps its number format: its rows are no multiple of 32 values", name);
    if (done.widened > 0)
      spdlog::info(
          "{} matrices of float16 became f32, which holds their values exactly (--to bf16 halves the file)",
          done.widened);
    std::string layers;
    for (const int each : done.layers_per_section)
      layers += (layers.empty() ? "" : " + ") + std::to_string(each);
    spdlog::info("{}: {} layers; tokenizer: {}", done.description, layers, done.tokenizer);
    spdlog::info("{} datasets ({} converted), {} to {}", done.datasets, done.converted,
                 format_bytes(done.input_bytes), format_bytes(done.output_bytes));
    for (const std::string& file : done.files) spdlog::info("wrote {}", file);
  }

  std::optional<std::string> input_, output_, layers_per_section_;
  std::optional<std::int64_t> sections_;
  std::string to_ = "same";
  bool no_tokenizer_ = false;
  bool split_ = false;
  std::int64_t alignment_ = 4096;
  std::string log_level_ = "info";
};

}  // namespace

std::unique_ptr<Command> make_import_command() {
  return std::make_unique<ImportCommand>();
}

}  // namespace stagformer::internal
