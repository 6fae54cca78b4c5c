/* Weights of @bits@ bits each, in two's complement, the first in the lowest bits of a byte. */
static void add_@input@_by_@bits@bit(const struct layer *layer, const void *weights, uint32_t entry,
                                     const @type@ *input, TOTAL *totals)
{
    const uint8_t *row = (const uint8_t *)weights + entry * layer->row;
    @read@
    for (uint32_t o = 0; o < layer->outputs; o += @per_byte@u, totals += @per_byte@ * @steps@) {
        TOTAL *total = totals;
        for (uint32_t fields = *row++; fields != 0; fields >>= @bits@, total += @steps@) {
            const uint32_t field = fields & @mask@u;
            const TOTAL weight = (TOTAL)((int32_t)(field ^ @sign@u) - @sign@);
            if (field == 1) {
                @plus@
            } else if (field == @mask@u) {
                @minus@
            } else if (field != 0) {
                @times@
            }
        }
    }
}
