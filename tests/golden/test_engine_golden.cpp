// The engine against the PyTorch reference: hidden states of every section and log-probabilities, for every
// variant.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "kernels/kernels.hpp"
#include "support/compare.hpp"
#include "support/engine_harness.hpp"
#include "support/golden_file.hpp"

namespace stagformer::test {
namespace {

using namespace internal;

/// One sequence of a golden file.
class GoldenSequence {
 public:
  GoldenSequence(const Golden& golden, std::int64_t b) : golden_(golden), b_(b) {
    const auto first = golden.tokens.begin() + static_cast<std::ptrdiff_t>(b * golden.length);
    tokens.assign(first, first + static_cast<std::ptrdiff_t>(golden.length));
  }
  std::vector<float> section(std::size_t s) const {
    const auto size = static_cast<std::size_t>(golden_.length * golden_.section_outputs.shape[3]);
    const auto at = (s * static_cast<std::size_t>(golden_.batch) + static_cast<std::size_t>(b_)) * size;
    return {golden_.section_outputs.values.begin() + static_cast<std::ptrdiff_t>(at),
            golden_.section_outputs.values.begin() + static_cast<std::ptrdiff_t>(at + size)};
  }
  /// Log-probabilities of the targets, [T][n] laid flat.
  std::vector<float> log_probabilities(const GoldenArray& array,
                                       const std::vector<std::vector<std::int32_t>>& targets) const {
    std::vector<float> values;
    const std::int64_t vocab = array.shape[2];
    for (std::size_t t = 0; t < targets.size(); ++t)
      for (const std::int32_t target : targets[t])
        values.push_back(array.values[static_cast<std::size_t>(
            (b_ * golden_.length + static_cast<std::int64_t>(t)) * vocab + target)]);
    return values;
  }
  /// The likeliest token at every position.
  std::vector<std::int32_t> greedy() const {
    std::vector<std::int32_t> best;
    const std::int64_t vocab = golden_.log_probabilities.shape[2];
    for (std::int64_t t = 0; t < golden_.length; ++t) {
      const auto row = golden_.log_probabilities.values.begin() +
                       static_cast<std::ptrdiff_t>((b_ * golden_.length + t) * vocab);
      best.push_back(
          static_cast<std::int32_t>(std::max_element(row, row + static_cast<std::ptrdiff_t>(vocab)) - row));
    }
    return best;
  }

  std::vector<std::int32_t> tokens;

 private:
  const Golden& golden_;
  std::int64_t b_;
};

int total_layers(const ModelConfig& config) {
  return std::accumulate(config.sections.layers_per_section.begin(), config.sections.layers_per_section.end(),
                         0);
}

class EngineGolden : public testing::TestWithParam<std::string> {};

TEST_P(EngineGolden, HiddenStatesAndLogProbabilitiesAgree) {
  const Golden golden = read_golden(GetParam());
  const CheckpointIndex index = read_checkpoint_index(golden_checkpoint(GetParam()));
  const double tolerance = f32_tolerance(total_layers(index.config));
  for (std::int64_t b = 0; b < golden.batch; ++b) {
    const GoldenSequence expected(golden, b);
    const auto targets = spread_targets(expected.tokens, index.config.vocab_size);
    for (const std::int64_t pass_rows : {std::int64_t{1000}, std::int64_t{5}, std::int64_t{1}}) {
      EngineRun run;
      run.pass_rows = pass_rows;
      const auto results = run_engine_locally(1, {}, index, expected.tokens, targets, run);
      const auto sections = all_sections(results);
      ASSERT_EQ(sections.size(), static_cast<std::size_t>(index.config.sections.count));
      for (std::size_t s = 0; s < sections.size(); ++s)
        EXPECT_LE(relative_error(sections[s], expected.section(s)), tolerance)
            << GetParam() << ": section " << s << ", sequence " << b << ", rows a pass " << pass_rows;
      EXPECT_LE(relative_error(results[0].log_probabilities,
                               expected.log_probabilities(golden.log_probabilities, targets)),
                2 * tolerance)
          << GetParam() << ": log-probabilities, sequence " << b << ", rows a pass " << pass_rows;
      EXPECT_EQ(results[0].chosen, expected.greedy()) << GetParam() << ", sequence " << b;
    }
  }
}

TEST_P(EngineGolden, RecurrentDecodingAgrees) {
  const Golden golden = read_golden(GetParam());
  const CheckpointIndex index = read_checkpoint_index(golden_checkpoint(GetParam()));
  if (golden.recurrent_after < 0) {
    EXPECT_TRUE(golden.recurrent_own.values.empty());
    return;
  }
  ASSERT_EQ(index.config.recurrent_refusal(), "");
  for (std::int64_t b = 0; b < golden.batch; ++b) {
    const GoldenSequence expected(golden, b);
    const auto targets = spread_targets(expected.tokens, index.config.vocab_size);
    std::vector<std::vector<float>> found;
    for (const PromptMemory memory : {PromptMemory::own, PromptMemory::previous_pass}) {
      EngineRun run;
      run.decode = DecodeMode::recurrent;
      run.recurrent_after = golden.recurrent_after;
      run.prompt_memory = memory;
      const auto results = run_engine_locally(1, {}, index, expected.tokens, targets, run);
      const GoldenArray& array =
          memory == PromptMemory::own ? golden.recurrent_own : golden.recurrent_previous_pass;
      EXPECT_LE(relative_error(results[0].log_probabilities, expected.log_probabilities(array, targets)),
                2 * f32_tolerance(total_layers(index.config)))
          << GetParam() << ", sequence " << b << ", prompt memory " << static_cast<int>(memory);
      found.push_back(results[0].log_probabilities);
    }
    EXPECT_GT(relative_error(found[0], found[1]), 1e-4) << "both kinds of prompt memory give the same";
  }
}

std::string case_name(const testing::TestParamInfo<std::string>& parameter) {
  return parameter.param;
}

INSTANTIATE_TEST_SUITE_P(Cases, EngineGolden, testing::ValuesIn(golden_cases()), case_name);

/// --kernels blas, the cross-check: other bits, the same numbers.
TEST(EngineGoldenBlas, AgreesTooWithOtherBits) {
  use_matmul_kernels(MatmulKernels::blas);
  for (const char* name : {"separate2", "sections3_linear", "format_q4_0", "untied"}) {
    const Golden golden = read_golden(name);
    const CheckpointIndex index = read_checkpoint_index(golden_checkpoint(name));
    const GoldenSequence expected(golden, 0);
    const auto targets = spread_targets(expected.tokens, index.config.vocab_size);
    const auto results = run_engine_locally(1, {}, index, expected.tokens, targets, {});
    EXPECT_LE(relative_error(results[0].log_probabilities,
                             expected.log_probabilities(golden.log_probabilities, targets)),
              2 * f32_tolerance(total_layers(index.config)))
        << name;
  }
  use_matmul_kernels(MatmulKernels::native);
}

/// Block formats with activations of 8 bits. Rounding moves a value by 1/127 of its block's largest over the
/// root of 12, some 0.55 % of a typical one; errors of a layer's ten products add up as squares do, and the
/// model may double them. Scales of neighbouring blocks changed over, for instance, are 80 % off in the
/// hidden states and 30 % in the log-probabilities.
TEST(EngineGoldenInt8, IsNearWithinTheStepOfTheActivations) {
  for (const char* name : {"format_q8_0", "format_q4_0", "format_q4_1", "format_mixed"}) {
    const Golden golden = read_golden(name);
    const CheckpointIndex index = read_checkpoint_index(golden_checkpoint(name));
    const int layers = total_layers(index.config);
    const double tolerance = 2 * 0.0055 * std::sqrt(10.0 * layers);
    for (std::int64_t b = 0; b < golden.batch; ++b) {
      const GoldenSequence expected(golden, b);
      const auto targets = spread_targets(expected.tokens, index.config.vocab_size);
      EngineRun run;
      run.activations = ActivationFormat::int8;
      const auto results = run_engine_locally(1, {}, index, expected.tokens, targets, run);
      const auto sections = all_sections(results);
      for (std::size_t s = 0; s < sections.size(); ++s)
        EXPECT_LE(relative_distance(sections[s], expected.section(s)), tolerance)
            << name << ": section " << s;
      const double distance = relative_distance(
          results[0].log_probabilities, expected.log_probabilities(golden.log_probabilities, targets));
      EXPECT_LE(distance, tolerance / 2) << name << ": log-probabilities";
      EXPECT_GT(distance, 10 * f32_tolerance(layers)) << name << " was not quantised";
    }
  }
}

/// What a slightly wrong model would compute must not pass for right.
struct Twin {
  std::string checkpoint, golden;
};

class WrongTwin : public testing::TestWithParam<Twin> {};

TEST_P(WrongTwin, IsNotMatched) {
  const Golden golden = read_golden("twins/" + GetParam().golden);
  const CheckpointIndex index = read_checkpoint_index(golden_checkpoint(GetParam().checkpoint));
  const GoldenSequence wrong(golden, 0);
  const auto targets = spread_targets(wrong.tokens, index.config.vocab_size);
  const auto results = run_engine_locally(1, {}, index, wrong.tokens, targets, {});
  EXPECT_GT(relative_error(results[0].log_probabilities,
                           wrong.log_probabilities(golden.log_probabilities, targets)),
            1e-3);
}

std::vector<Twin> twins() {
  std::vector<Twin> found;
  for (const std::string& name : golden_cases("twins"))
    found.push_back({name.substr(0, name.find(".twin-")), name});
  return found;
}

INSTANTIATE_TEST_SUITE_P(Twins, WrongTwin, testing::ValuesIn(twins()), [](const auto& twin) {
  std::string name = twin.param.golden;
  std::ranges::replace_if(
      name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
});

}  // namespace
}  // namespace stagformer::test
