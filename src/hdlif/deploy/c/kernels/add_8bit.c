/* Weights of -127 to 127, a byte each, in two's complement. */
static void add_8bit(const struct layer *layer, const uint8_t *weights, const WORK *work, uint32_t count,
                     int32_t *sums)
{
    for (uint32_t k = 0; k < count; k++) {
        const uint8_t *row = weights + work->entry[k] * layer->row;
        const int32_t code = work->code[k];
        for (uint32_t o = 0; o < layer->outputs; o++)
            sums[o] += ((int32_t)(row[o] ^ 0x80u) - 0x80) * code;
    }
}
