static void add_@input@_by_reals(const struct layer *layer, const void *weights, uint32_t entry, const @type@ *input,
                                 TOTAL *totals)
{
    const NUMBER *row = (const NUMBER *)weights + entry * layer->row;
    for (uint32_t c = 0; c < layer->channels; c++, row += layer->row, input += layer->height * layer->width * @apart@u) {
        if (@steps@ == 1 && *input == 0)
            continue;
        @read@
        for (uint32_t o = 0; o < layer->outputs; o++) {
            const TOTAL weight = (TOTAL)row[o];
            TOTAL *total = totals + o * @steps@u;
            @times@
        }
    }
}
