#if !VECTORS
/* Distance in bits between the changes of a code at two steps in one word: early + late * 2^APART. */
#if defined(__ARM_FEATURE_DSP)
#define APART 27
#else
#define APART 16
#endif

/* Adds the listed changes, times their weights, to the sums of a group at two steps, which are `apart` entries apart; a
   change of 0 ends the list. Weights are -1, 0 and 1, two bits each, times changes of up to 15: the sums of a list stay
   within 13 bits. */
#if defined(__ARM_FEATURE_DSP)
/* The four weights in a byte, as two words w = w0 + w1 * 2^13. The product with p = c0 + c1 * 2^27, in 64 bits, is
   w0 c0 + w1 c0 * 2^13 + w0 c1 * 2^27 + w1 c1 * 2^40: four sums, each starting in the middle of its field. */
static const int32_t PAIRS_2BIT[256][2] = {@pairs@};
#define HALF ((int64_t)1 << 12 | (int64_t)1 << 26 | (int64_t)1 << 39)

static inline void add_fields(int64_t fields, SUM *sums, uint32_t apart)
{
    const uint32_t low = (uint32_t)fields, high = (uint32_t)((uint64_t)fields >> 32);
    sums[0] = (SUM)(sums[0] + (int32_t)(low & 0x1fffu) - 0x1000);
    sums[1] = (SUM)(sums[1] + (int32_t)(low >> 13 & 0x3fffu) - 0x2000);
    sums[apart] = (SUM)(sums[apart] + (int32_t)((low >> 27 | high << 5) & 0x1fffu) - 0x1000);
    sums[apart + 1] = (SUM)(sums[apart + 1] + ((int32_t)high >> 8));
}

static void add_2bit_steps(const struct layer *layer, const uint8_t *weights, const CHANGE *change, SUM *sums,
                           uint32_t apart)
{
    if (change->pair == 0)
        return;
    for (uint32_t o = 0; o < layer->outputs; o += 8, weights += 2, sums += 8) {
        int64_t a = HALF, b = HALF, c = HALF, d = HALF;
        for (const CHANGE *one = change; one->pair != 0; one++) {
            const uint8_t *bytes = weights + one->offset;
            const int32_t *lower = PAIRS_2BIT[bytes[0]], *upper = PAIRS_2BIT[bytes[1]], pair = one->pair;
            a += (int64_t)lower[0] * pair;
            b += (int64_t)lower[1] * pair;
            c += (int64_t)upper[0] * pair;
            d += (int64_t)upper[1] * pair;
        }
        add_fields(a, sums, apart);
        add_fields(b, sums + 2, apart);
        add_fields(c, sums + 4, apart);
        add_fields(d, sums + 6, apart);
    }
}
#else
static void add_fields(uint32_t word, SUM *sums, uint32_t apart)
{
    int32_t pair[2] = {sums[0], sums[apart]};
    add_pair(word, pair);
    sums[0] = (SUM)pair[0];
    sums[apart] = (SUM)pair[1];
}

static void add_2bit_steps(const struct layer *layer, const uint8_t *weights, const CHANGE *change, SUM *sums,
                           uint32_t apart)
{
    if (change->pair == 0)
        return;
    for (uint32_t o = 0; o < layer->outputs; o += 4, weights++, sums += 4) {
        uint32_t a = 0, b = 0, c = 0, d = 0;
        for (const CHANGE *one = change; one->pair != 0; one++) {
            const uint32_t byte = weights[one->offset], pair = (uint32_t)one->pair;
            a += (uint32_t)((int32_t)(byte << 30) >> 30) * pair;
            b += (uint32_t)((int32_t)(byte << 28) >> 30) * pair;
            c += (uint32_t)((int32_t)(byte << 26) >> 30) * pair;
            d += (uint32_t)((int32_t)(byte << 24) >> 30) * pair;
        }
        add_fields(a, sums, apart);
        add_fields(b, sums + 1, apart);
        add_fields(c, sums + 2, apart);
        add_fields(d, sums + 3, apart);
    }
}
#endif
#endif
