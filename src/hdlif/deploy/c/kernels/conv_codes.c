/* Adds up weight times code over the window of one pixel, for every output channel. Codes of 0 are skipped: the others
   are listed, and the list is added up for a few outputs at a time. */
static void conv_codes(const struct layer *layer, add_codes add, const uint8_t *weights, const uint8_t *codes,
                       uint32_t y, uint32_t x, WORK *work)
{
    const uint32_t plane = layer->height * layer->width;
    const uint32_t window = (uint32_t)(layer->kernel_y * layer->kernel_x) * layer->channels;
    /* includes the padding after the last outputs, which are summed in groups of eight */
    for (uint32_t o = 0; o < layer->groups * layer->outputs + 7; o++)
        work->sums[o] = 0;
    for (uint32_t g = 0; g < layer->groups; g++) {
        int32_t *sums = work->sums + g * layer->outputs;
        uint32_t count = 0, entry = 0;
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
                const uint8_t *code = codes + (uint32_t)row * layer->width + (uint32_t)column;
                for (uint32_t c = 0; c < layer->channels; c++, code += plane) {
                    if (*code == 0)
                        continue;
                    work->entry[count] = (ENTRY)(entry + c);
                    work->code[count] = *code;
                    if (++count == layer->most) {
                        add(layer, weights, work, count, sums);
                        count = 0;
                    }
                }
            }
        }
        if (count != 0)
            add(layer, weights, work, count, sums);
        weights += window * layer->row;
        codes += plane * layer->channels;
    }
}
