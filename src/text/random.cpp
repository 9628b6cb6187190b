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

UniformChunk UniformSource::chunk(std::int32_t first) const {
  UniformChunk chunk;
  for (int pair = 0; pair < UniformChunk::kSize / 2; ++pair) {
    chunk.words[0][pair] = static_cast<std::uint32_t>(first) / 2 + static_cast<std::uint32_t>(pair);
    chunk.words[1][pair] = 0;
    chunk.words[2][pair] = upper_counter_[0];
    chunk.words[3][pair] = upper_counter_[1];
  }
  philox_lanes(chunk.words, key_);
  return chunk;
}

double UniformSource::uniform(std::int32_t token) const {
  const std::int32_t first = token & ~1;
  UniformChunk chunk;
  const auto words =
      philox({static_cast<std::uint32_t>(first) / 2, 0, upper_counter_[0], upper_counter_[1]}, key_);
  for (std::size_t w = 0; w < 4; ++w) chunk.words[w][0] = words[w];
  return chunk.uniform(token - first);
}

bool UniformChunk::any_from(std::uint32_t least) const {
  unsigned found = 0;
  for (int pair = 0; pair < kSize / 2; ++pair)
    found |= static_cast<unsigned>(words[0][pair] >= least) | static_cast<unsigned>(words[2][pair] >= least);
  return found != 0;
}

double gumbel(const SamplingKey& key, std::int32_t token) {
  return gumbel_from_uniform(UniformSource(key).uniform(token));
}

}  // namespace stagformer::internal
