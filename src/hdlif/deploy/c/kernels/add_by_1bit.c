/* Weights of 1 and -1, one bit each. */
static void add_@input@_by_1bit(const struct layer *layer, const void *weights, uint32_t entry, const @type@ *input,
                                TOTAL *totals)
{
    const uint8_t *row = (const uint8_t *)weights + entry * layer->row;
    for (uint32_t c = 0; c < layer->channels; c++, row += layer->row, input += @channel@) {
        if (@steps@ == 1 && *input == 0)
            continue;
        @read@
        for (uint32_t o = 0; o < layer->outputs; o++) {
            TOTAL *total = totals + o * @steps@u;
            if (row[o / 8u] >> (o % 8u) & 1u) {
                @plus@
            } else {
                @minus@
            }
        }
    }
}
