// Strips of packed panels to f32 weights, 16 rows at a time, in ascending k. Compiled once for each target.
//
// A format has units of kUnit columns, walked as kHalves x kGroups x kColumns (only halves and columns are
// unrolled), and
//   Consts                                            what a unit of one strip needs again and again (scales)
//   decode<half, column>(strip, unit, group, consts)  weights of one column of the unit, one lane a row
// Quants are not converted from integers: their bits go into the fraction of a float in [1, 2), and one fused
// multiply-add takes the rest: scale * 256 * (1 + u / 256) - scale * 384 = scale * (u - 128). All products
// are exact (a scale has 11 bits), so the weights equal dequantize_row()'s bit for bit.
#if defined(STAGFORMER_KERNELS_DECODE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef STAGFORMER_KERNELS_DECODE_INL
#undef STAGFORMER_KERNELS_DECODE_INL
#else
#define STAGFORMER_KERNELS_DECODE_INL
#endif

#include "kernels/packed_layout.hpp"
#include "kernels/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace stagformer::internal {
namespace HWY_NAMESPACE {

inline constexpr std::uint32_t kOneBits = 0x3f800000;  // 1.0f

/// A strip of 16 rows of a panel; strip i of a matrix is in panel i / 2. Made once a strip.
struct StripCursor {
  const std::byte* scales;  ///< of the first unit; block formats only
  const std::byte* lines;   ///< of the first unit
};

HWY_INLINE StripCursor strip_cursor(const PackedMatrix& w, std::int64_t strip) {
  const std::int64_t in_panel = strip % kPanelStrips;
  const std::byte* panel = w.data + strip / kPanelStrips * packed_panel_bytes(w.format, w.columns);
  const std::int64_t header = is_block_format(w.format) ? block_layout(w.format).header_bytes : 0;
  return {panel + in_panel * kStripScaleBytes, panel + header + in_panel * kStripBytes};
}

struct F32Format {
  static constexpr std::int64_t kUnitBytes = kLineBytes;
  static constexpr int kUnit = 1, kHalves = 1, kGroups = 1, kColumns = 1;
  struct Consts {};
  static HWY_INLINE Consts consts(const StripCursor&, std::int64_t) { return {}; }
  template <int kHalf, int kColumn>
  static HWY_INLINE V16 decode(const StripCursor& strip, std::int64_t unit, std::int64_t, const Consts&) {
    return load(reinterpret_cast<const float*>(strip.lines + unit * kLineBytes));
  }
};

struct Bf16Format {
  static constexpr std::int64_t kUnitBytes = kLineBytes;
  static constexpr int kUnit = 2, kHalves = 1, kGroups = 1, kColumns = 2;
  struct Consts {};
  static HWY_INLINE Consts consts(const StripCursor&, std::int64_t) { return {}; }
  template <int kHalf, int kColumn>
  static HWY_INLINE V16 decode(const StripCursor& strip, std::int64_t unit, std::int64_t, const Consts&) {
    const U16 pairs = load_words(strip.lines + unit * kLineBytes);
    if constexpr (kColumn == 0)
      return as_floats(shift<16>(pairs));
    else
      return mask_or(pairs, 0xffff0000u, 0);
  }
};

struct BlockConsts {
  V16 factor, offset;
};

struct Q8Format {
  static constexpr std::int64_t kUnitBytes = block_layout(NumberFormat::q8_0).unit_bytes();
  static constexpr int kUnit = 32, kHalves = 1, kGroups = 8, kColumns = 4;
  using Consts = BlockConsts;
  static HWY_INLINE Consts consts(const StripCursor& strip, std::int64_t block) {
    const V16 scale = load_halves(strip.scales + block * kUnitBytes);
    return {mul(scale, splat(256)), mul(scale, splat(-384))};
  }
  template <int kHalf, int kColumn>
  static HWY_INLINE V16 decode(const StripCursor& strip, std::int64_t block, std::int64_t group,
                               const Consts& c) {
    const U16 bytes = load_words(strip.lines + block * kUnitBytes + group * kLineBytes);
    return fma(mask_or(shift<15 - 8 * kColumn>(bytes), 0x007f8000u, kOneBits), c.factor, c.offset);
  }
};

/// Halves are the low and the high nibbles; 1 + nibble / 16.
template <NumberFormat kFormat>
struct NibbleFormat {
  static constexpr std::int64_t kUnitBytes = block_layout(kFormat).unit_bytes();
  static constexpr int kUnit = 32, kHalves = 2, kGroups = 4, kColumns = 4;
  using Consts = BlockConsts;
  template <int kHalf, int kColumn>
  static HWY_INLINE V16 fraction(const StripCursor& strip, std::int64_t block, std::int64_t group) {
    const U16 bytes = load_words(strip.lines + block * kUnitBytes + group * kLineBytes);
    return mask_or(shift<19 - 8 * kColumn - 4 * kHalf>(bytes), 0x00780000u, kOneBits);
  }
};

struct Q40Format : NibbleFormat<NumberFormat::q4_0> {
  static HWY_INLINE Consts consts(const StripCursor& strip, std::int64_t block) {
    const V16 scale = load_halves(strip.scales + block * kUnitBytes);
    return {mul(scale, splat(16)), mul(scale, splat(-24))};
  }
  template <int kHalf, int kColumn>
  static HWY_INLINE V16 decode(const StripCursor& strip, std::int64_t block, std::int64_t group,
                               const Consts& c) {
    return fma(fraction<kHalf, kColumn>(strip, block, group), c.factor, c.offset);
  }
};

// scale * q + minimum is rounded once, so the one of the fraction is taken away first.
struct Q41Format : NibbleFormat<NumberFormat::q4_1> {
  static HWY_INLINE Consts consts(const StripCursor& strip, std::int64_t block) {
    const std::byte* scales = strip.scales + block * kUnitBytes;
    return {mul(load_halves(scales), splat(16)), load_halves(scales + kPanelRows * 2)};
  }
  template <int kHalf, int kColumn>
  static HWY_INLINE V16 decode(const StripCursor& strip, std::int64_t block, std::int64_t group,
                               const Consts& c) {
    return fma(sub(fraction<kHalf, kColumn>(strip, block, group), splat(1)), c.factor, c.offset);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace stagformer::internal
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
