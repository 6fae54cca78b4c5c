/* Adds the gradients of the weights: g times the inputs, which are codes or numbers. The sums for a table of numbers
   are in its order, others are [outputs][channels][kernel_y][kernel_x]. */
static void add_gradients(const struct layer *layer, uint32_t bits, const uint8_t *codes, const NUMBER *numbers,
        const NUMBER *g, uint32_t height, uint32_t width, NUMBER *sums)
{
    const uint32_t taps = (uint32_t)(layer->kernel_y * layer->kernel_x);
    const uint32_t count = layer->groups * layer->outputs * layer->channels * taps;
    for (uint32_t k = 0; k < count; k++) {
        const int32_t v = (int32_t)(k % taps) / layer->kernel_x, u = (int32_t)(k % taps) % layer->kernel_x;
        const uint32_t whole = k / taps / layer->channels;
        const uint32_t channel = whole / layer->outputs * layer->channels + k / taps % layer->channels;
        NUMBER total = 0.0f;
        for (uint32_t row = 0; row < height; row++)
            for (uint32_t column = 0; column < width; column++) {
                const int32_t y = (int32_t)row * layer->stride_y + v * layer->dilation_y - layer->padding_y;
                const int32_t x = (int32_t)column * layer->stride_x + u * layer->dilation_x - layer->padding_x;
                if (y < 0 || y >= (int32_t)layer->height || x < 0 || x >= (int32_t)layer->width)
                    continue;
                const uint32_t at = (channel * layer->height + (uint32_t)y) * layer->width + (uint32_t)x;
                total += g[(whole * height + row) * width + column] * (codes != 0 ? (NUMBER)codes[at] : numbers[at]);
            }
        uint32_t output, input = place_of(layer, k, &output);
        sums[bits == 0 ? input * layer->row + output : k] += total;
    }
}
