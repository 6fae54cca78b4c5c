#if @vectors@ && @steps@ == 1 && defined(__ARM_FEATURE_MVE)
static void add_@input@_by_reals(const struct layer *layer, const void *weights, uint32_t entry, const @type@ *input,
                                 TOTAL *totals)
{
    const NUMBER *row = (const NUMBER *)weights + entry * layer->row;
    for (uint32_t c = 0; c < layer->channels; c++, row += layer->row, input += @channel@) {
        for (uint32_t o = 0; o < layer->outputs; o += 4) {
            const mve_pred16_t there = vctp32q(layer->outputs - o);
            const int32x4_t sums = vldrwq_z_s32(totals + o, there), weight = vldrhq_z_s32(row + o, there);
            vstrwq_p_s32(totals + o, vmlaq_n_s32(sums, weight, *input), there);
        }
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
