/* Returns min(x, 2^bits - 1) for x >= 0. */
#if defined(__ARM_FEATURE_SAT)
#include <arm_acle.h>
#define at_most_bits(x, bits) (int32_t)__usat(x, bits)
#else
static int32_t at_most_bits(int32_t x, int32_t bits)
{
    return x < 1 << bits ? x : (1 << bits) - 1;
}
#endif
