/* Returns the nearest 16-bit integer. */
#if defined(__ARM_FEATURE_SAT)
#include <arm_acle.h>
#define saturated(x) __ssat(x, 16)
#else
static int32_t saturated(int32_t x)
{
    return x > 32767 ? 32767 : x < -32768 ? -32768 : x;
}
#endif
