/* Vectors are used if the sums of all layers fit in 16 bits. */
#if defined(__ARM_FEATURE_MVE) && @fits@
#include <arm_mve.h>
#define VECTORS 1
#else
#define VECTORS 0
#endif

/* Returns the codes of four steps, the first in the lowest byte. */
static inline uint32_t four_of(const uint8_t *code)
{
    return code[0] | (uint32_t)code[1] << 8 | (uint32_t)code[2] << 16 | (uint32_t)code[3] << 24;
}

/* Lists, for each row of a map, the places of the codes above 0 at any step. Codes that change after the second of four
   steps are listed backwards from the end of the row's part. `begin` has the starts of each pixel and group in both
   lists: the first list counts up from the row's first entry, the second down from its last one. */
static void list_active(const struct layer *layer, const uint8_t *codes, ACTIVE *active, ACTIVE *begin)
{
    const uint32_t pixels = layer->width * layer->groups, channels = layer->channels;
    for (uint32_t y = 0; y < layer->height; y++) {
        ACTIVE *next = active, *last = active + pixels * channels;
        uint32_t place = 0;
        for (uint32_t pixel = 0; pixel < pixels; pixel++, begin += 2) {
            begin[0] = (ACTIVE)(next - active);
            begin[1] = (ACTIVE)(active + pixels * channels - last);
            for (const uint32_t end = place + channels; place < end; place++, codes += @stored@) {
                uint32_t any = 0, late = 0;
                for (uint32_t t = 0; t < @stored@u; t += 4)
                    any |= four_of(codes + t);
                if (any == 0)
                    continue;
                for (uint32_t t = 0; t < @stored@u; t += 4)
                    late |= (four_of(codes + t) ^ four_of(codes + t) >> 8) & 0xffff00u;
                if (late != 0)
                    *--last = (ACTIVE)place;
                else
                    *next++ = (ACTIVE)place;
            }
        }
        begin[0] = (ACTIVE)(next - active);
        begin[1] = (ACTIVE)(active + pixels * channels - last);
        begin += 2;
        active += pixels * channels;
    }
}

/* The rows or columns of the kernel that are on a map: from the first to one past the last. */
struct taps {
    int32_t first, beyond;
};

static inline struct taps taps_of(int32_t start, int32_t kernel, int32_t dilation, uint32_t size)
{
    struct taps taps = {0, kernel};
    while (start + taps.first * dilation < 0 && taps.first < kernel)
        taps.first++;
    while (taps.beyond > taps.first && start + (taps.beyond - 1) * dilation >= (int32_t)size)
        taps.beyond--;
    return taps;
}
