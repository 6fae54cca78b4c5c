static void add_@input@_by_reals(const struct layer *layer, const void *weights, uint32_t entry, @type@ input,
                                 TOTAL *totals)
{
    const NUMBER *row = (const NUMBER *)weights + entry * layer->row;
    for (uint32_t o = 0; o < layer->outputs; o++)
        totals[o] += row[o] * (TOTAL)input;
}
