/* Weights of @bits@ bits each, in two's complement, the first in a byte's lowest bits; one byte's outputs at a time. */
#if @vectors@ && @steps@ % 4 == 0 && defined(__ARM_FEATURE_MVE)
static void add_@input@_by_@bits@bit(const struct layer *layer, const void *weights, uint32_t entry,
                                     const @type@ *input, TOTAL *totals)
{
    const uint8_t *bytes = (const uint8_t *)weights + entry * layer->row;
    const uint32_t apart = @channel@;
    for (uint32_t o = 0; o < layer->outputs; o += @per_byte@u, bytes++, totals += @per_byte@ * @steps@) {
        for (uint32_t t = 0; t < @steps@u; t += 4) {
            const uint8_t *row = bytes;
            const @type@ *from = input + t;
            @begin_vectors@
            for (uint32_t c = 0; c < layer->channels; c++, row += layer->row, from += apart) {
                const int32_t fields = *row;
                const int32x4_t x = vldrhq_s32(from);
                @add_vectors@
            }
            @end_vectors@
        }
    }
}
#else
static void add_@input@_by_@bits@bit(const struct layer *layer, const void *weights, uint32_t entry,
                                     const @type@ *input, TOTAL *totals)
{
    const uint8_t *bytes = (const uint8_t *)weights + entry * layer->row;
    const uint32_t apart = @channel@;
    for (uint32_t o = 0; o < layer->outputs; o += @per_byte@u, bytes++, totals += @per_byte@ * @steps@) {
        const uint8_t *row = bytes;
        const @type@ *from = input;
        @begin@
        for (uint32_t c = 0; c < layer->channels; c++, row += layer->row, from += apart) {
            const uint32_t fields = *row;
            if (fields == 0 || (@steps@ == 1 && *from == 0))
                continue;
            @read_all@
            @add_all@
        }
        @end@
    }
}
#endif
