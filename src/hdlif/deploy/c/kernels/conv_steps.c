/* Appends a change to a list, and adds the list up where it is full. `pair` is early + late * 2^8. */
static uint32_t listed(const struct layer *layer, add_steps add, const uint8_t *weights, CHANGE *list,
                       uint32_t count, uint32_t offset, int32_t pair, int32_t *sums)
{
    const int32_t early = (int32_t)(((uint32_t)pair & 0xffu) ^ 0x80u) - 0x80;
    list[count].offset = offset;
    list[count].pair = early + (pair - early) * (1 << (APART - 8));
    if (count + 1 < @most@u)
        return count + 1;
    list[@most@].pair = 0;
    add(layer, weights, list, sums);
    return 0;
}

/* Adds up weight times code over the window of one pixel, for every output channel and @stored@ time steps: of a step, the
   sum is that of all changes of the codes until then. Codes that stay as they are take no part: changes are listed, two
   steps in one word, and the lists are added up for a few outputs at a time. */
static void conv_steps(const struct layer *layer, add_steps add, const uint8_t *weights, const uint8_t *codes,
                       uint32_t y, uint32_t x, ANSWER *work)
{
    const uint32_t plane = layer->height * layer->width;
    const uint32_t window = (uint32_t)(layer->kernel_y * layer->kernel_x) * layer->channels;
    memset(work->sums, 0, (layer->groups * layer->outputs + 7) * @stored@u * sizeof work->sums[0]);
    for (uint32_t g = 0; g < layer->groups; g++) {
        for (uint32_t t = 0; t < @stored@u; t += 4) {
            int32_t *sums = work->sums + g * layer->outputs * @stored@u + t;
            uint32_t early = 0, late = 0;
            for (int32_t ky = 0; ky < layer->kernel_y; ky++) {
                const int32_t row = (int32_t)y * layer->stride_y + ky * layer->dilation_y - layer->padding_y;
                if (row < 0 || row >= (int32_t)layer->height)
                    continue;
                for (int32_t kx = 0; kx < layer->kernel_x; kx++) {
                    const int32_t column = (int32_t)x * layer->stride_x + kx * layer->dilation_x - layer->padding_x;
                    if (column < 0 || column >= (int32_t)layer->width)
                        continue;
                    const uint8_t *code = codes + ((uint32_t)row * layer->width + (uint32_t)column) * @stored@u + t;
                    uint32_t offset = (uint32_t)(ky * layer->kernel_x + kx) * layer->channels * layer->row;
                    const uint32_t end = offset + layer->channels * layer->row;
                    for (; offset < end; offset += layer->row, code += plane * @stored@u) {
                        const uint32_t now =
                            code[0] | (uint32_t)code[1] << 8 | (uint32_t)code[2] << 16 | (uint32_t)code[3] << 24;
                        const uint32_t before = t == 0 ? 0u : code[-1];
                        if (now == before * 0x1010101u)
                            continue;
                        const uint32_t changes = now - (now << 8 | before);
                        const int32_t first = (int32_t)((changes & 0xffffu) ^ 0x8000u) - 0x8000;
                        const int32_t second = (int32_t)(changes - (uint32_t)first) >> 16;
                        if (first != 0)
                            early = listed(layer, add, weights, work->early, early, offset, first, sums);
                        if (second != 0)
                            late = listed(layer, add, weights, work->late, late, offset, second, sums + 2);
                    }
                }
            }
            work->early[early].pair = work->late[late].pair = 0;
            add(layer, weights, work->early, sums);
            add(layer, weights, work->late, sums + 2);
        }
        weights += window * layer->row;
        codes += plane * layer->channels * @stored@u;
    }
}
