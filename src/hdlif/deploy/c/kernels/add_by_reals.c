#if @vectors@ && @steps@ == 1 && defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>

static void add_@input@_by_reals(const struct layer *layer, const void *weights, uint32_t entry, const @type@ *input,
                                 TOTAL *totals)
{
    const NUMBER *row = (const NUMBER *)weights + entry * layer->row;
    for (uint32_t c = 0; c < layer->channels; c++, input += @channel@) {
        const int32_t x = *input;
        for (uint32_t o = 0; o < layer->outputs; o += 4, row += 4) {
            const mve_pred16_t there = vctp32q(layer->outputs - o);
            const int32x4_t sums = vmlaq_n_s32(vldrwq_z_s32(totals + o, there), vldrhq_z_s32(row, there), x);
            vstrwq_p_s32(totals + o, sums, there);
        }
        row -= -layer->outputs % 4u;
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
