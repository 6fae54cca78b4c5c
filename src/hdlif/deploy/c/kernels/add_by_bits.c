/* Weights of @bits@ bits each, in two's complement, the first in the lowest bits of a byte. */
static void add_@input@_by_@bits@bit(const struct layer *layer, const void *weights, uint32_t entry, @type@ input,
                                     TOTAL *totals)
{
    const uint8_t *row = (const uint8_t *)weights + entry * layer->row;
    for (uint32_t o = 0; o < layer->outputs; o++) {
        const uint32_t field = (uint32_t)row[o / @per_byte@u] >> (o % @per_byte@u * @bits@u) & @mask@u;
        const int32_t weight = (int32_t)(field ^ @sign@u) - @sign@;
        if (weight == 1)
            totals[o] += (TOTAL)input;
        else if (weight == -1)
            totals[o] -= (TOTAL)input;
        else if (weight != 0)
            totals[o] += (TOTAL)weight * (TOTAL)input;
    }
}
