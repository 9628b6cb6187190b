// Packed panels to f32 weights, 16 rows at a time, in ascending k. Compiled once for each target.
//
// A format has units of kUnit columns, walked as kHalves x kGroups x kColumns (only halves and columns are
// unrolled), and
//   Consts                                            what a unit of one panel needs again and again (scales)
//   decode<half, column>(panel, unit, group, consts)  weights of one column of the unit, one lane a row
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

/// Where the parts of a panel's units begin; made once a panel.
struct PanelCursor {
  const std::byte* scales;  ///< block formats only
  const std::byte* values;
};

HWY_INLINE PanelCursor panel_cursor(const PackedMatrix& w, std::int64_t panel) {
  const std::byte* begin = w.data + panel * packed_panel_bytes(w.format, w.columns);
  return {begin, is_block_format(w.format) ? begin + quants_offset(w.format, w.columns) : begin};
}

struct F32Format {
  static constexpr int kUnit = 1, kHalves = 1, kGroups = 1, kColumns = 1;
  struct Consts {};
  static HWY_INLINE Consts consts(const PanelCursor&, std::int64_t) { return {}; }
  template <int kHalf, int kColumn>
  static HWY_INLINE V16 decode(const PanelCursor& panel, std::int64_t unit, std::int64_t, const Consts&) {
    return load(reinterpret_cast<const float*>(panel.values + unit * 64));
  }
};

struct Bf16Format {
  static constexpr int kUnit = 2, kHalves = 1, kGroups = 1, kColumns = 2;
  struct Consts {};
  static HWY_INLINE Consts consts(const PanelCursor&, std::int64_t) { return {}; }
  template <int kHalf, int kColumn>
  static HWY_INLINE V16 decode(const PanelCursor& panel, std::int64_t unit, std::int64_t, const Consts&) {
    const U16 pairs = load_words(panel.values + unit * 64);
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
  static constexpr int kUnit = 32, kHalves = 1, kGroups = 8, kColumns = 4;
  using Consts = BlockConsts;
  static HWY_INLINE Consts consts(const PanelCursor& panel, std::int64_t block) {
    const V16 scale = load_halves(panel.scales + block * 32);
    return {mul(scale, splat(256)), mul(scale, splat(-384))};
  }
  template <int kHalf, int kColumn>
  static HWY_INLINE V16 decode(const PanelCursor& panel, std::int64_t block, std::int64_t group,
                               const Consts& c) {
    const U16 bytes = load_words(panel.values + block * 512 + group * kGroupBytes);
    return fma(mask_or(shift<15 - 8 * kColumn>(bytes), 0x007f8000u, kOneBits), c.factor, c.offset);
  }
};

/// Halves are the low and the high nibbles; 1 + nibble / 16.
struct NibbleFormat {
  static constexpr int kUnit = 32, kHalves = 2, kGroups = 4, kColumns = 4;
  using Consts = BlockConsts;
  template <int kHalf, int kColumn>
  static HWY_INLINE V16 fraction(const PanelCursor& panel, std::int64_t block, std::int64_t group) {
    const U16 bytes = load_words(panel.values + block * 256 + group * kGroupBytes);
    return mask_or(shift<19 - 8 * kColumn - 4 * kHalf>(bytes), 0x00780000u, kOneBits);
  }
};

struct Q40Format : NibbleFormat {
  static HWY_INLINE Consts consts(const PanelCursor& panel, std::int64_t block) {
    const V16 scale = load_halves(panel.scales + block * 32);
    return {mul(scale, splat(16)), mul(scale, splat(-24))};
  }
  template <int kHalf, int kColumn>
  static HWY_INLINE V16 decode(const PanelCursor& panel, std::int64_t block, std::int64_t group,
                               const Consts& c) {
    return fma(fraction<kHalf, kColumn>(panel, block, group), c.factor, c.offset);
  }
};

// scale * q + minimum is rounded once, so the one of the fraction is taken away first.
struct Q41Format : NibbleFormat {
  static HWY_INLINE Consts consts(const PanelCursor& panel, std::int64_t block) {
    const std::byte* scales = panel.scales + block * 64;
    return {mul(load_halves(scales), splat(16)), load_halves(scales + 32)};
  }
  template <int kHalf, int kColumn>
  static HWY_INLINE V16 decode(const PanelCursor& panel, std::int64_t block, std::int64_t group,
                               const Consts& c) {
    return fma(sub(fraction<kHalf, kColumn>(panel, block, group), splat(1)), c.factor, c.offset);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace stagformer::internal
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
