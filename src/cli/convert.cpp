// stagformer convert: one checkpoint from another, in another number format, or cut into files.
#include "checkpoint/convert.hpp"
#include "base/host_info.hpp"
#include "cli/command.hpp"
#include "cli/written_checkpoint.hpp"

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
    written_.visit(v);
  }

  ExitCode run(const MpiSession*, const std::string&) override {
    ConvertOptions options;
    options.input = *input_;
    options.output = *written_.output;
    options.to = written_.format();
    options.split = written_.split;
    options.alignment = written_.alignment;
    options.progress = log_bytes_done();
    report(convert_checkpoint(options));
    return ExitCode::success;
  }

 private:
  static void report(const ConvertReport& done) {
    log_written(done.warnings, done.kept,
                std::to_string(done.stored_datasets) + " datasets (" + std::to_string(done.converted) +
                    " converted, " + std::to_string(done.linked_datasets) + " shared), " +
                    format_bytes(done.input_bytes) + " to " + format_bytes(done.output_bytes),
                done.files);
  }

  std::optional<std::string> input_;
  WrittenCheckpoint written_;
};

}  // namespace

std::unique_ptr<Command> make_convert_command() {
  return std::make_unique<ConvertCommand>();
}

}  // namespace stagformer::internal
