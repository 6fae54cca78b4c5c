/* Weights of 1 and -1, a bit each. */
static void add_@input@_by_1bit(const struct layer *layer, const void *weights, uint32_t entry, @type@ input,
                                TOTAL *totals)
{
    const uint8_t *row = (const uint8_t *)weights + entry * layer->row;
    for (uint32_t o = 0; o < layer->outputs; o++) {
        if (row[o / 8u] >> (o % 8u) & 1u)
            totals[o] += (TOTAL)input;
        else
            totals[o] -= (TOTAL)input;
    }
}
