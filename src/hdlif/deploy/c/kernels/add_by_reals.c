#if @vectors@ && @steps@ == 1 && defined(__ARM_FEATURE_MVE)
static void add_@input@_by_reals(const struct layer *layer, const void *weights, uint32_t entry, const @type@ *input,
                                 TOTAL *totals)
{
    const NUMBER *row = (const NUMBER *)weights + entry * layer->row;
    const uint32_t inputs = layer->channels, outputs = layer->outputs; /* entries of a row, too */
    for (uint32_t c = 0; c < inputs; c++, input += @channel@) {
        const int32_t number = *input;
        TOTAL *total = totals;
        for (uint32_t k = 0; k < outputs / 4; k++, row += 4, total += 4)
            vstrwq_s32(total, vmlaq_n_s32(vldrwq_s32(total), vldrhq_s32(row), number));
        for (uint32_t k = 0; k < outputs % 4; k++)
            total[k] += *row++ * number;
    }
}
#else
static void add_@input@_by_reals(const struct layer *layer, const void *weights, uint32_t entry, const @type@ *input,
                                 TOTAL *totals)
{
    const NUMBER *row = (const NUMBER *)weights + entry * layer->row;
    for (uint32_t c = 0; c < layer->channels; c++, row += layer->row, input += @channel@) {
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
#endif
