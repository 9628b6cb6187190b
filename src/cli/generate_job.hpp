// What one prompt and a file of prompts have in common: rank 0 reads, tokenizes and takes out what an earlier
// run finished; every rank gets the rest; the replicas share it; results come together on rank 0.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/generate_settings.hpp"
#include "cli/model_run.hpp"
#include "cli/prompts.hpp"
#include "cli/result_file.hpp"
#include "pipeline/generation.hpp"

namespace stagformer::internal {

class PromptShare;
class ReplicaReports;

class GenerateJob {
 public:
  /// Its time begins here.
  GenerateJob(ModelRun& run, const GenerateSettings& settings);
  virtual ~GenerateJob() = default;

  /// Collective, once the run is open.
  void prepare();
  /// What the engine has to have room for.
  int slots() const;
  std::int64_t context() const;
  /// Collective, once the model is loaded. False: stopped early.
  bool generate();
  /// Of generate().
  double seconds() const { return seconds_; }
  /// Why it stopped early, for the user. On rank 0.
  virtual std::string stop_reason() const { return "stopped by a signal"; }
  /// On rank 0: log lines at the end.
  virtual void summarize() const;
  virtual nlohmann::json result_record() const;

 protected:
  // Called on rank 0, but for those that say otherwise.
  virtual std::vector<Prompt> read() const = 0;
  /// All prompts are tokenized, none is taken out yet.
  virtual void check_prompts(const std::vector<Prompt>&) const {}
  virtual void begin() {}
  virtual void on_text(const std::string&, std::span<const std::int32_t>) {}
  virtual void on_record(const Prompt& prompt, const nlohmann::json& record) = 0;
  virtual void on_load(int, const GenerationLoad&) {}
  /// On every rank, in every step.
  virtual bool stop_wanted();
  /// Collective, after the last step.
  virtual void end() {}

  void deliver(const GenerationResult& result);
  nlohmann::json record_of(const GenerationResult& result) const;

  ModelRun& run_;
  const GenerateSettings& settings_;
  const double begin_s_;
  std::vector<Prompt> prompts_;  // without a result yet, in the order of their index
  std::optional<ResultFile> output_;
  std::size_t found_ = 0;  // results that an earlier run left
  std::size_t delivered_ = 0;
  std::int64_t result_tokens_ = 0;
  GenerationTimes times_;  // of replica 0

 private:
  void write_out(std::vector<Prompt>& prompts) const;
  void open_output(std::vector<Prompt>& prompts);
  std::vector<const GenerationRequest*> runnable() const;
  const Prompt& prompt_of(std::int64_t index) const;
  void deliver(std::int64_t index, const nlohmann::json& record);
  Generator::Events events(ReplicaReports& reports, PromptShare& share);

  Generator* generator_ = nullptr;  // while it works
  double seconds_ = 0;
};

}  // namespace stagformer::internal
