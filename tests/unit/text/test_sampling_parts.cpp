// The same token and the same bits whatever the number of parts, the candidates sent first, and the thread.
#include <gtest/gtest.h>

#include <bit>
#include <thread>

#include "sampling_harness.hpp"
#include "text/random.hpp"

namespace stagformer::internal {
namespace {

const SamplingParams kSettings[] = {{0, 0, 1, 0, 0},       {1, 0, 1, 0, 0},        {0.7F, 0, 1, 0, 0},
                                    {1, 40, 1, 0, 0},      {1, 0, 0.9F, 0, 0},     {1.3F, 0, 0.5F, 0, 0},
                                    {1, 0, 1, 0.05F, 0},   {0.8F, 50, 0.9F, 0, 0}, {1.1F, 0, 0.95F, 0.01F, 0},
                                    {1, 7, 0.8F, 0.1F, 0}, {5, 0, 0.9999F, 0, 0},  {3, 0, 1, 1e-5F, 0}};

void expect_same(const Choice& found, const Choice& expected) {
  ASSERT_EQ(found.pick.status, Pick::Status::ok);
  EXPECT_EQ(found.pick.token, expected.pick.token);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(found.pick.log_probability),
            std::bit_cast<std::uint32_t>(expected.pick.log_probability));
  EXPECT_EQ(std::bit_cast<std::uint64_t>(found.log_sum), std::bit_cast<std::uint64_t>(expected.log_sum));
}

class Parts : public testing::TestWithParam<std::int64_t> {};

TEST_P(Parts, DoNotChangeOneBit) {
  for (const float spread : {0.01F, 1.0F, 6.0F}) {
    const std::vector<float> logits = random_logits(GetParam(), spread, 31);
    for (const SamplingParams& params : kSettings)
      for (std::uint64_t position = 0; position < (GetParam() < 10000 ? 4 : 1); ++position) {
        const SamplingKey key{params.seed, 5, position};
        const Choice alone = choose(logits, 1, params, key);
        for (const int parts : {2, 3, 4, 7, 16, 300}) {
          SCOPED_TRACE(testing::Message()
                       << "parts " << parts << " top_p " << params.top_p << " top_k " << params.top_k
                       << " min_p " << params.min_p << " spread " << spread);
          expect_same(choose(logits, parts, params, key), alone);
        }
      }
  }
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, Parts, testing::Values(263, 2048, 50257));

TEST(Parts, LogitsWithManyTies) {
  std::vector<float> logits = random_logits(2048, 1, 8);
  for (float& logit : logits) logit = std::round(logit * 2) / 2;
  for (const SamplingParams& params : kSettings)
    for (std::uint64_t position = 0; position < 30; ++position) {
      const Choice alone = choose(logits, 1, params, {1, 1, position}, 2048);
      for (const int parts : {2, 7, 128})
        expect_same(choose(logits, parts, params, {1, 1, position}, 1), alone);
    }
}

TEST(Widening, FewCandidatesGiveTheSameTokenAsAll) {
  const std::vector<float> logits = random_logits(2048, 1, 77);
  int widened = 0;
  for (const SamplingParams& params : kSettings)
    for (std::uint64_t position = 0; position < 20; ++position) {
      const SamplingKey key{4, 2, position};
      const Choice all = choose(logits, 3, params, key, 2048);
      EXPECT_EQ(all.exchanges, 1);
      for (const std::int64_t candidates : {1, 2, 5, 64}) {
        const Choice few = choose(logits, 3, params, key, candidates);
        expect_same(few, all);
        widened += few.exchanges > 1 ? 1 : 0;
      }
    }
  EXPECT_GT(widened, 500);
}

TEST(Widening, IsAskedForAsSoonAsAnUnsentRowCouldBelong) {
  // Slice 0 holds the four best rows; with two candidates a slice the third best of all was not sent.
  std::vector<float> logits(64, 0.0F);
  for (const std::size_t i : {0U, 1U, 2U, 3U}) logits[i] = 4.0F - 0.1F * static_cast<float>(i);
  logits[40] = 2;
  SamplingParams params;
  params.temperature = 1;
  params.min_p = 0.1F;  // ln(0.1) = -2.3: rows 0 to 3 and row 40
  RecordLayout layout = layout_for(64, 2, params, 2, false);
  auto status = [&] {
    const auto records = records_of(logits, 2, params, {}, layout);
    return pick_token(records.data(), layout.bytes(), 2, 64, params, {}, layout).status;
  };
  EXPECT_EQ(status(), Pick::Status::need_more_candidates);
  layout.candidates = 4;  // the last one sent by slice 0 is better than row 40, so a fifth might be too
  EXPECT_EQ(status(), Pick::Status::need_more_candidates);
  layout.candidates = 5;
  EXPECT_EQ(status(), Pick::Status::ok);
  params.min_p = 0.9F;  // rows 0 and 1: the second one sent is needed, and the next must be known to be out
  layout.candidates = 2;
  EXPECT_EQ(status(), Pick::Status::need_more_candidates);
  layout.candidates = 3;
  EXPECT_EQ(status(), Pick::Status::ok);
}

TEST(Widening, WholeSlicesAreAlwaysEnough) {
  const std::vector<float> logits = random_logits(2048, 0.001F, 12);
  for (const SamplingParams& params : kSettings)
    for (const int parts : {1, 4, 200}) {
      const std::int64_t rows = vocabulary_slice(2048, 0, parts).rows();
      EXPECT_EQ(choose(logits, parts, params, {}, rows).exchanges, 1);
    }
}

TEST(TopK, AsManyCandidatesSuffice) {
  const std::vector<float> logits = random_logits(50257, 2, 13);
  for (const std::int64_t k : {1, 5, 50, 999})
    for (const int parts : {1, 5})
      EXPECT_EQ(choose(logits, parts, {1, k, 0.9F, 0.01F, 0}, {}, k).exchanges, 1);
}

TEST(NoFilter, OneCandidateIsTheWinnerOfAll) {
  for (const std::int64_t vocab : {263, 50257}) {
    const std::vector<float> logits = random_logits(vocab, 3, 21);
    for (const float temperature : {1e-6F, 0.3F, 1.0F, 50.0F})
      for (std::uint64_t position = 0; position < 20; ++position) {
        const SamplingKey key{6, 6, position};
        double best = -INFINITY;
        std::int32_t winner = -1;
        for (std::int32_t id = 0; id < vocab; ++id) {
          const double value =
              static_cast<double>(logits[static_cast<std::size_t>(id)]) / static_cast<double>(temperature) +
              gumbel(key, id);
          if (value > best) {
            best = value;
            winner = id;
          }
        }
        for (const int parts : {1, 4})
          EXPECT_EQ(choose(logits, parts, {temperature, 0, 1, 0, 0}, key).pick.token, winner);
      }
  }
}

TEST(Threads, RowsMayBeDoneByAnyThread) {
  const std::vector<float> logits = random_logits(2048, 1, 55);
  std::vector<std::vector<std::int32_t>> tokens(4);
  std::vector<std::thread> threads;
  for (auto& mine : tokens)
    threads.emplace_back([&] {
      for (const SamplingParams& params : kSettings)
        for (std::uint64_t position = 0; position < 5; ++position)
          mine.push_back(choose(logits, 3, params, {2, 0, position}).pick.token);
    });
  for (std::thread& thread : threads) thread.join();
  for (const auto& mine : tokens) EXPECT_EQ(mine, tokens[0]);
}

}  // namespace
}  // namespace stagformer::internal
