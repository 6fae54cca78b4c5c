/* Adds up weight times input over the window of one pixel, in the order of the window's rows, columns and channels, for
   every output channel and @steps@ time steps. An input of 0 adds nothing. */
static void conv_@input@(const struct layer *layer, add_@input@ add, const void *weights, const @type@ *inputs,
                         uint32_t y, uint32_t x, TOTAL *totals)
{
    const uint32_t window = (uint32_t)(layer->kernel_y * layer->kernel_x) * layer->channels;
#if @vectors@ && defined(__ARM_FEATURE_MVE)
    for (uint32_t o = 0; o < layer->groups * layer->outputs * @steps@u; o += 4)
        vstrwq_s32(totals + o, vdupq_n_s32(0));
#else
    for (uint32_t o = 0; o < layer->groups * layer->outputs * @steps@u; o++)
        totals[o] = 0;
#endif
    for (uint32_t g = 0; g < layer->groups; g++, inputs += layer->channels * @channel@) {
        uint32_t entry = g * window;
        for (int32_t ky = 0; ky < layer->kernel_y; ky++) {
            const int32_t row = (int32_t)y * layer->stride_y + ky * layer->dilation_y - layer->padding_y;
            if (row < 0 || row >= (int32_t)layer->height) {
                entry += (uint32_t)layer->kernel_x * layer->channels;
                continue;
            }
            for (int32_t kx = 0; kx < layer->kernel_x; kx++, entry += layer->channels) {
                const int32_t column = (int32_t)x * layer->stride_x + kx * layer->dilation_x - layer->padding_x;
                if (column < 0 || column >= (int32_t)layer->width)
                    continue;
                const @type@ *input = inputs + ((uint32_t)row * layer->width + (uint32_t)column) * @pixel@;
                add(layer, weights, entry, input, totals + g * layer->outputs * @steps@u);
            }
        }
    }
}
