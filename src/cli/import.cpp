// stagformer import: a checkpoint from a GGUF file or a folder of Hugging Face's.
#include "import/import.hpp"

#include <spdlog/spdlog.h>

#include "base/host_info.hpp"
#include "cli/command.hpp"
#include "cli/written_checkpoint.hpp"

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
    v.integer("sections", sections_, 1, 1 << 16,
              "Chained sections that the layers are cut into (default: 1)");
    v.text("layers-per-section", layers_per_section_, "Layers of each section, such as 10,20");
    v.flag("no-tokenizer", no_tokenizer_, "Import the weights alone");
    written_.visit(v);
  }

  ExitCode run(const MpiSession*, const std::string&) override {
    ImportOptions options;
    options.input = *input_;
    options.output = *written_.output;
    options.sections = sections_;
    options.layers_per_section = layers_per_section_;
    options.to = written_.format();
    options.with_tokenizer = !no_tokenizer_;
    options.split = written_.split;
    options.alignment = written_.alignment;
    options.progress = log_bytes_done();
    report(import_model(options));
    return ExitCode::success;
  }

 private:
  static void report(const ImportReport& done) {
    if (done.widened > 0)
      spdlog::info(
          "{} matrices of float16 became f32, which holds their values exactly (--to bf16 halves the file)",
          done.widened);
    std::string layers;
    for (const int each : done.layers_per_section)
      layers += (layers.empty() ? "" : " + ") + std::to_string(each);
    spdlog::info("{}: {} layers; tokenizer: {}", done.description, layers, done.tokenizer);
    log_written(done.warnings, done.kept,
                std::to_string(done.datasets) + " datasets (" + std::to_string(done.converted) +
                    " converted), " + format_bytes(done.input_bytes) + " to " +
                    format_bytes(done.output_bytes),
                done.files);
  }

  std::optional<std::string> input_, layers_per_section_;
  std::optional<std::int64_t> sections_;
  bool no_tokenizer_ = false;
  WrittenCheckpoint written_;
};

}  // namespace

std::unique_ptr<Command> make_import_command() {
  return std::make_unique<ImportCommand>();
}

}  // namespace stagformer::internal
