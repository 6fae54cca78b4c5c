/* Weights of -7 to 7, four bits each: the two in a byte, as a word of two 16-bit numbers. */
static const uint32_t WEIGHTS_4BIT[256] = {@table@};

static void add_4bit(const struct layer *layer, const uint8_t *weights, const WORK *work, uint32_t count,
                     int32_t *sums)
{
    for (uint32_t o = 0; o < layer->outputs; o += 8, weights += 4, sums += 8) {
        uint32_t a = 0, b = 0, c = 0, d = 0;
        for (uint32_t k = 0; k < count; k++) {
            const uint8_t *bytes = weights + work->entry[k] * layer->row;
            const uint32_t code = work->code[k];
            a += WEIGHTS_4BIT[bytes[0]] * code;
            b += WEIGHTS_4BIT[bytes[1]] * code;
            c += WEIGHTS_4BIT[bytes[2]] * code;
            d += WEIGHTS_4BIT[bytes[3]] * code;
        }
        add_pair(a, sums);
        add_pair(b, sums + 2);
        add_pair(c, sums + 4);
        add_pair(d, sums + 6);
    }
}
