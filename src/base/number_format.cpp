#include "stagformer/number_format.hpp"

#include <array>

#include "stagformer/error.hpp"

namespace stagformer {
namespace {

struct FormatFacts {
  NumberFormat format;
  const char* name;
  std::int64_t unit_values;  // values stored together
  std::int64_t unit_bytes;   // bytes of those values
};

constexpr std::array<FormatFacts, 5> kFormats = {{{NumberFormat::f32, "f32", 1, 4},
                                                  {NumberFormat::bf16, "bf16", 1, 2},
                                                  {NumberFormat::q8_0, "q8_0", kBlockValues, 34},
                                                  {NumberFormat::q4_0, "q4_0", kBlockValues, 18},
                                                  {NumberFormat::q4_1, "q4_1", kBlockValues, 20}}};

const FormatFacts& facts_of(NumberFormat format) {
  return kFormats[static_cast<std::size_t>(format)];
}

}  // namespace

std::int64_t stored_row_bytes(NumberFormat format, std::int64_t columns) {
  const FormatFacts& facts = facts_of(format);
  if (columns % facts.unit_values != 0)
    throw ConfigError(std::string("number format ") + facts.name +
                      " needs rows of a multiple of 32 values, not of " + std::to_string(columns));
  return columns / facts.unit_values * facts.unit_bytes;
}

bool is_block_format(NumberFormat format) {
  return facts_of(format).unit_values > 1;
}

const char* name_of(NumberFormat format) {
  return facts_of(format).name;
}

NumberFormat number_format_from(std::string_view name) {
  for (const FormatFacts& facts : kFormats)
    if (name == facts.name) return facts.format;
  throw ConfigError("unknown number format '" + std::string(name) + "' (known: f32, bf16, q8_0, q4_0, q4_1)");
}

}  // namespace stagformer
