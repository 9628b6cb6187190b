#include "text/random.hpp"

#include "text/deterministic_math.hpp"

namespace stagformer::internal {
namespace {

constexpr int kRounds = 10;
constexpr std::uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
constexpr std::uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;

/// N independent counters side by side, word i of counter `lane` at words[i][lane]; the loop over lanes
/// vectorises.
template <int N>
void philox_lanes(std::uint32_t (&words)[4][N], std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < kRounds; ++round) {
    for (int lane = 0; lane < N; ++lane) {
      const std::uint64_t product0 = std::uint64_t{kMultiplier0} * words[0][lane];
      const std::uint64_t product1 = std::uint64_t{kMultiplier1} * words[2][lane];
      words[0][lane] = static_cast<std::uint32_t>(product1 >> 32) ^ words[1][lane] ^ key[0];
      words[1][lane] = static_cast<std::uint32_t>(product1);
      words[2][lane] = static_cast<std::uint32_t>(product0 >> 32) ^ words[3][lane] ^ key[1];
      words[3][lane] = static_cast<std::uint32_t>(product0);
    }
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
}

std::uint32_t low(std::uint64_t x) {
  return static_cast<std::uint32_t>(x);
}
std::uint32_t high(std::uint64_t x) {
  return static_cast<std::uint32_t>(x >> 32);
}

double to_uniform(std::uint32_t a, std::uint32_t b) {
  const std::uint64_t k = (std::uint64_t{a} << 20) | (b >> 12);  // 52 bits
  return (static_cast<double>(k) + 0.5) * 0x1p-52;
}

}  // namespace

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  std::uint32_t words[4][1] = {{counter[0]}, {counter[1]}, {counter[2]}, {counter[3]}};
  philox_lanes(words, key);
  return {words[0][0], words[1][0], words[2][0], words[3][0]};
}

double gumbel_from_uniform(double u) {
  return -deterministic_log(-deterministic_log(u));
}

UniformSource::UniformSource(const SamplingKey& key) {
  const auto mixed = philox({low(key.position), high(key.position), low(key.sequence), high(key.sequence)},
                            {low(key.seed), high(key.seed)});
  key_ = {mixed[0], mixed[1]};
  upper_counter_ = {mixed[2], mixed[3]};
}

double UniformSource::uniform(std::int32_t token) const {
  const auto pair = static_cast<std::uint32_t>(token) / 2;
  const auto words = philox({pair, 0, upper_counter_[0], upper_counter_[1]}, key_);
  return token % 2 == 0 ? to_uniform(words[0], words[1]) : to_uniform(words[2], words[3]);
}

void UniformSource::fill_chunk(std::int32_t first, double* u) const {
  constexpr int kPairs = kChunk / 2;
  std::uint32_t words[4][kPairs];
  for (int i = 0; i < kPairs; ++i) {
    words[0][i] = static_cast<std::uint32_t>(first) / 2 + static_cast<std::uint32_t>(i);
    words[1][i] = 0;
    words[2][i] = upper_counter_[0];
    words[3][i] = upper_counter_[1];
  }
  philox_lanes(words, key_);
  for (int i = 0; i < kPairs; ++i) {
    u[2 * i] = to_uniform(words[0][i], words[1][i]);
    u[2 * i + 1] = to_uniform(words[2][i], words[3][i]);
  }
}

double gumbel(const SamplingKey& key, std::int32_t token) {
  return gumbel_from_uniform(UniformSource(key).uniform(token));
}

}  // namespace stagformer::internal
