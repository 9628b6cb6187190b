#include "cli/single_prompt.hpp"

#include <spdlog/spdlog.h>

#include "cli/files.hpp"
#include "pipeline/agreement.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

using nlohmann::json;

class SinglePrompt final : public GenerateJob {
 public:
  using GenerateJob::GenerateJob;

  json result_record() const override {
    json record = GenerateJob::result_record();
    if (!completion_.is_null()) record["completion"] = completion_;
    return record;
  }

 private:
  std::vector<Prompt> read() const override {
    Prompt prompt;
    prompt.id = 1;
    prompt.text = *settings_.prompt;
    prompt.request = settings_.defaults();
    return {prompt};
  }

  void check_prompts(const std::vector<Prompt>& prompts) const override {
    if (!prompts[0].refusal.empty()) throw InputError(prompts[0].refusal);
  }

  void begin() override {
    if (run_.grid().replicas > 1)
      spdlog::warn("one prompt keeps one replica busy; the other {} wait", run_.grid().replicas - 1);
  }

  void on_text(const std::string& text, std::span<const std::int32_t> ids) override {
    if (!settings_.token_ids) return write_stdout(text);
    std::string out;
    for (const std::int32_t id : ids) {
      out += (any_id_ ? " " : "") + std::to_string(id);
      any_id_ = true;
    }
    write_stdout(out);
  }

  void on_record(const Prompt&, const json& record) override {
    completion_ = record;
    error_ = record.value("error", "");
  }

  void end() override {
    agree(run_.world(), [&] {
      if (!error_.empty()) throw NumericError(error_);
    });
    if (run_.is_root()) write_stdout("\n");
  }

  json completion_;
  std::string error_;
  bool any_id_ = false;
};

}  // namespace

std::unique_ptr<GenerateJob> make_single_prompt(ModelRun& run, const GenerateSettings& settings) {
  return std::make_unique<SinglePrompt>(run, settings);
}

}  // namespace stagformer::internal
