/* Weights of -1, 0 and 1, two bits each: the four in a byte, as two words of two 16-bit numbers. */
static const uint32_t WEIGHTS_2BIT[256][2] = {@table@};

static void add_2bit(const struct layer *layer, const uint8_t *weights, const WORK *work, uint32_t count,
                     int32_t *sums)
{
    for (uint32_t o = 0; o < layer->outputs; o += 8, weights += 2, sums += 8) {
        uint32_t a = 0, b = 0, c = 0, d = 0;
        for (uint32_t k = 0; k < count; k++) {
            const uint8_t *bytes = weights + work->entry[k] * layer->row;
            const uint32_t *lower = WEIGHTS_2BIT[bytes[0]], *upper = WEIGHTS_2BIT[bytes[1]];
            const uint32_t code = work->code[k];
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
