#include "kernels/whole_panel.hpp"

#include "kernels/simd_targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/whole_panel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cstring>

#include "kernels/packed_layout.hpp"

HWY_BEFORE_NAMESPACE();
namespace stagformer::internal {
namespace HWY_NAMESPACE {

/// Four rows' next 16 bytes to four lines: word i of row r to line i at 4 r, xor `flip`.
#if HWY_TARGET == HWY_SCALAR
void pack_square(const std::byte* rows, std::int64_t row_bytes, std::uint32_t flip, std::byte* lines) {
  for (std::int64_t r = 0; r < 4; ++r)
    for (std::int64_t i = 0; i < 4; ++i) {
      std::uint32_t word = 0;
      std::memcpy(&word, rows + r * row_bytes + i * 4, 4);
      word ^= flip;
      std::memcpy(lines + i * kLineBytes + r * 4, &word, 4);
    }
}
#else
namespace hn = hwy::HWY_NAMESPACE;

HWY_INLINE void pack_square(const std::byte* rows, std::int64_t row_bytes, std::uint32_t flip,
                            std::byte* lines) {
  const hn::FixedTag<std::uint8_t, 16> bytes;
  const hn::FixedTag<std::uint32_t, 4> words;
  const hn::FixedTag<std::uint64_t, 2> pairs;
  const auto load = [&](std::int64_t r) {
    const auto row = hn::LoadU(bytes, reinterpret_cast<const std::uint8_t*>(rows + r * row_bytes));
    return hn::Xor(hn::BitCast(words, row), hn::Set(words, flip));
  };
  const auto keep = [&](auto line, std::int64_t i) {
    hn::Store(hn::BitCast(bytes, line), bytes, reinterpret_cast<std::uint8_t*>(lines + i * kLineBytes));
  };
  const auto a = load(0), b = load(1), c = load(2), d = load(3);
  const auto ab01 = hn::BitCast(pairs, hn::InterleaveLower(words, a, b)),
             ab23 = hn::BitCast(pairs, hn::InterleaveUpper(words, a, b)),
             cd01 = hn::BitCast(pairs, hn::InterleaveLower(words, c, d)),
             cd23 = hn::BitCast(pairs, hn::InterleaveUpper(words, c, d));
  keep(hn::InterleaveLower(pairs, ab01, cd01), 0);
  keep(hn::InterleaveUpper(pairs, ab01, cd01), 1);
  keep(hn::InterleaveLower(pairs, ab23, cd23), 2);
  keep(hn::InterleaveUpper(pairs, ab23, cd23), 3);
}
#endif

/// 4 * kSquares words of all rows, from one column on.
template <std::int64_t kSquares>
HWY_INLINE void pack_lines(const std::byte* from, std::int64_t row_bytes, std::uint32_t flip,
                           std::byte* lines) {
  for (std::int64_t r = 0; r < kPanelRows; r += 4)
    for (std::int64_t q = 0; q < kSquares; ++q)
      pack_square(from + r * row_bytes + q * 16, row_bytes, flip, lines + q * 4 * kLineBytes + r * 4);
}

/// f32 values or bf16 pairs. A cache line of a row is used up at once: rows that lie a power of two apart
/// would drive each other's lines out of the cache.
void pack_words(const std::byte* stored, std::int64_t row_bytes, std::int64_t words, std::byte* panel) {
  std::int64_t i = 0;
  for (; i + 16 <= words; i += 16) pack_lines<4>(stored + i * 4, row_bytes, 0, panel + i * kLineBytes);
  for (; i < words; ++i)
    for (std::int64_t r = 0; r < kPanelRows; ++r)
      std::memcpy(panel + i * kLineBytes + r * 4, stored + r * row_bytes + i * 4, 4);
}

template <NumberFormat kFormat>
void pack_units(const std::byte* stored, std::int64_t row_bytes, std::int64_t columns, std::byte* panel) {
  constexpr BlockLayout kLayout = block_layout(kFormat);
  constexpr std::uint32_t kFlip =
      kFormat == NumberFormat::q8_0 ? 0x80808080u : 0;  // two's complement to q + 128
  for (std::int64_t b = 0; b < columns / kBlockValues; ++b) {
    const std::byte* block = stored + b * kLayout.stored_bytes;
    std::byte* unit = panel + b * kLayout.unit_bytes();
    for (std::int64_t i = 0; i < kLayout.stored_header / 2; ++i)
      for (std::int64_t r = 0; r < kPanelRows; ++r)
        std::memcpy(unit + (i * kPanelRows + r) * 2, block + r * row_bytes + 2 * i, 2);
    pack_lines<kLayout.lines / 4>(block + kLayout.stored_header, row_bytes, kFlip,
                                  unit + kLayout.header_bytes);
  }
}

void pack_panel_lanes(NumberFormat format, std::int64_t columns, const std::byte* stored,
                      std::int64_t row_bytes, std::byte* panel) {
  if (format == NumberFormat::q8_0) return pack_units<NumberFormat::q8_0>(stored, row_bytes, columns, panel);
  if (format == NumberFormat::q4_0) return pack_units<NumberFormat::q4_0>(stored, row_bytes, columns, panel);
  if (format == NumberFormat::q4_1) return pack_units<NumberFormat::q4_1>(stored, row_bytes, columns, panel);
  pack_words(stored, row_bytes, row_bytes / 4, panel);
}

}  // namespace HWY_NAMESPACE
}  // namespace stagformer::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace stagformer::internal {

HWY_EXPORT(pack_panel_lanes);

void pack_whole_panel(NumberFormat format, std::int64_t columns, const std::byte* stored,
                      std::int64_t row_bytes, std::byte* panel) {
  HWY_DYNAMIC_DISPATCH(pack_panel_lanes)(format, columns, stored, row_bytes, panel);
}

}  // namespace stagformer::internal
#endif
