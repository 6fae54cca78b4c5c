/* LANES entries of neighbouring channels, as 32-bit integers: four in a vector, or a single one. In arrays, they are
   `apart` entries apart. */
#if defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>
#define LANES 4
typedef int32x4_t LANE;
/* Returns a vector of unspecified lanes, whose register the compiler may choose. */
static inline int16x8_t any_lanes(void)
{
    int16x8_t any;
    __asm__ volatile("" : "=w"(any));
    return any;
}
#define PLACES(apart) ((uint32x4_t){0, (apart), 2 * (apart), 3 * (apart)})
#define lane(x) vdupq_n_s32(x)
#define lanes_of_numbers(from, apart) \
    ((apart) == 1 ? vldrhq_s32(from) : vldrhq_gather_shifted_offset_s32(from, PLACES(apart)))
#define lanes_of_totals(from, apart) \
    ((apart) == 1 ? vldrwq_s32(from) : vldrwq_gather_shifted_offset_s32(from, PLACES(apart)))
#define lanes_of_codes(from, apart) vreinterpretq_s32_u32(vldrbq_gather_offset_u32(from, PLACES(apart)))
#define put_numbers(to, apart, x) vstrhq_scatter_shifted_offset_s32(to, PLACES(apart), x)
#define put_codes(to, apart, x) vstrbq_scatter_offset_u32(to, PLACES(apart), vreinterpretq_u32_s32(x))
#define lanes_plus(x, number) vaddq_n_s32(x, number)
#define lanes_minus(x, number) vsubq_n_s32(x, number)
#define lanes_times(x, number) ((number) > 0 && ((number) & ((number) - 1)) == 0 ? (x) * (number) : vmulq_n_s32(x, number))
#define lanes_rounded(x, bits) vrshrq_n_s32(x, bits)
#define lanes_held(x, bits) vmovlbq_s16(vqrshrnbq_n_s32(any_lanes(), x, bits))
#define lanes_at_most(x, most) vminq_s32(x, most)
#define lanes_at_most_bits(x, bits) vminq_s32(x, lane((1 << (bits)) - 1))
#define lanes_at_least(x, least) vmaxq_s32(x, least)
#define lanes_saturated(x) vmovlbq_s16(vqmovnbq_s32(any_lanes(), x))
#define lanes_select(chosen, a, b) vpselq_s32(a, b, vcmpneq_n_s32(chosen, 0))
#define lanes_greater(a, b) vpselq_s32(lane(1), lane(0), vcmpgtq_s32(a, b))
#define lanes_greater_equal(a, b) vpselq_s32(lane(1), lane(0), vcmpgeq_s32(a, b))
#else
#define LANES 1
typedef int32_t LANE;
#define lane(x) (x)
#define lanes_of_numbers(from, apart) (*(from))
#define lanes_of_totals(from, apart) (*(from))
#define lanes_of_codes(from, apart) (*(from))
#define put_numbers(to, apart, x) (*(to) = (NUMBER)(x))
#define put_codes(to, apart, x) (*(to) = (uint8_t)(x))
#define lanes_plus(x, number) ((x) + (number))
#define lanes_minus(x, number) ((x) - (number))
#define lanes_times(x, number) ((x) * (number))
#define lanes_held(x, bits) saturated(lanes_rounded(x, bits))
#define lanes_rounded(x, bits) (((x) + (1 << ((bits) - 1))) >> (bits))
#define lanes_at_most(x, most) at_most(x, most)
#define lanes_at_most_bits(x, bits) at_most_bits(x, bits)
#define lanes_at_least(x, least) at_least(x, least)
#define lanes_saturated(x) saturated(x)
#define lanes_select(chosen, a, b) ((chosen) != 0 ? (a) : (b))
#define lanes_greater(a, b) ((a) > (b))
#define lanes_greater_equal(a, b) ((a) >= (b))
#endif
