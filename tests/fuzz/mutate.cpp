#include "fuzz/mutate.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

namespace stagformer::fuzz {
namespace {

constexpr std::array<std::uint64_t, 12> kIntegers = {
    0,           1,          0x7F,        0xFF,          0x7FFFFFFF,         0xFFFFFFFF,
    0x100000000, 0x40000000, 0xFFFFFFF0U, 0x10000000000, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF};
constexpr std::array<std::string_view, 20> kWords = {"{",
                                                     "}",
                                                     "[",
                                                     "]",
                                                     "\"",
                                                     ",",
                                                     ":",
                                                     "null",
                                                     "true",
                                                     "1e999",
                                                     "-1",
                                                     "-0",
                                                     "1.5e308",
                                                     "9223372036854775807",
                                                     "18446744073709551616",
                                                     "\\ud800",
                                                     "\\u0000",
                                                     "\xC3\x28",
                                                     "[[[[[[[[[[[[[[[[",
                                                     "\n"};

/// splitmix64
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed) {}
  std::uint64_t roll() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  /// Below `count`; 0 where there is nothing to choose from.
  std::size_t below(std::size_t count) { return count > 0 ? static_cast<std::size_t>(roll() % count) : 0; }

 private:
  std::uint64_t state_;
};

/// Mostly short pieces, now and then long ones.
std::string piece_of(const std::string& text, Dice& dice) {
  const std::size_t at = dice.below(text.size());
  const std::size_t most = dice.below(8) == 0 ? text.size() : 24;
  return text.substr(at, 1 + dice.below(most));
}

void overwrite(std::string& text, std::size_t at, const void* bytes, std::size_t count) {
  std::memcpy(text.data() + at, bytes, std::min(count, text.size() - at));
}

void edit(std::string& text, const std::vector<std::string>& seeds, Dice& dice) {
  if (text.empty()) text = piece_of(seeds[0], dice);
  const std::size_t at = dice.below(text.size());
  switch (dice.below(9)) {
    case 0:
      text[at] = static_cast<char>(text[at] ^ (1 << dice.below(8)));
      break;
    case 1:
      text[at] = static_cast<char>(dice.roll());
      break;
    case 2: {
      const std::uint64_t value = kIntegers[dice.below(kIntegers.size())] + dice.below(2);
      overwrite(text, at, &value, std::size_t{1} << dice.below(4));
      break;
    }
    case 3:
      text.erase(at, piece_of(text, dice).size());
      break;
    case 4:
      text.insert(at, piece_of(text, dice));
      break;
    case 5:
      text.insert(at, piece_of(seeds[dice.below(seeds.size())], dice));
      break;
    case 6: {
      const std::string piece = piece_of(text, dice);
      overwrite(text, at, piece.data(), piece.size());
      break;
    }
    case 7:
      text.insert(at, kWords[dice.below(kWords.size())]);
      break;
    default:
      if (dice.below(4) == 0)
        text.resize(at);
      else
        text.replace(at, 1 + dice.below(4), kWords[dice.below(kWords.size())]);
  }
}

}  // namespace

std::string mutation(const std::vector<std::string>& seeds, std::uint64_t number) {
  Dice dice(number);
  std::string text = seeds[number % seeds.size()];
  for (std::size_t edits = 1 + dice.below(6); edits > 0; --edits) edit(text, seeds, dice);
  return text;
}

}  // namespace stagformer::fuzz
