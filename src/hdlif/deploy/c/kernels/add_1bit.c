/* Weights of 1 and -1, one bit each: four of them as two words of two 16-bit numbers. */
static const uint32_t WEIGHTS_1BIT[16][2] = {@table@};

static void add_1bit(const struct layer *layer, const uint8_t *weights, const WORK *work, uint32_t count,
                     int32_t *sums)
{
    for (uint32_t o = 0; o < layer->outputs; o += 8, weights++, sums += 8) {
        uint32_t a = 0, b = 0, c = 0, d = 0;
        for (uint32_t k = 0; k < count; k++) {
            const uint32_t byte = weights[work->entry[k] * layer->row], code = work->code[k];
            const uint32_t *lower = WEIGHTS_1BIT[byte & 15u], *upper = WEIGHTS_1BIT[byte >> 4];
            a += lower[0] * code;
            b += lower[1] * code;
            c += upper[0] * code;
            d += upper[1] * code;
        }
        add_pair(a, sums);
        add_pair(b, sums + 2);
        add_pair(c, sums + 4);
        add_pair(d, sums + 6);
    }
}
