/* Returns the gradient of the input at channel c, row y and column x, from g, [outputs][height][width]. */
static NUMBER back_through(const struct layer *layer, const void *weights, uint32_t bits, const NUMBER *g,
        uint32_t height, uint32_t width, uint32_t c, uint32_t y, uint32_t x)
{
    const uint32_t group = c / layer->channels, taps = (uint32_t)(layer->kernel_y * layer->kernel_x);
    NUMBER total = 0.0f;
    for (int32_t v = 0; v < layer->kernel_y; v++)
        for (int32_t u = 0; u < layer->kernel_x; u++) {
            const int32_t row = output_of(y, v, layer->stride_y, layer->padding_y, layer->dilation_y, height);
            const int32_t column = output_of(x, u, layer->stride_x, layer->padding_x, layer->dilation_x, width);
            if (row < 0 || column < 0)
                continue;
            const uint32_t tap = (uint32_t)(v * layer->kernel_x + u);
            const uint32_t input = (group * taps + tap) * layer->channels + c % layer->channels;
            const NUMBER *from = g + (group * layer->outputs * height + (uint32_t)row) * width + (uint32_t)column;
            for (uint32_t k = 0; k < layer->outputs; k++)
                total += weight_at(layer, weights, bits, input, k) * from[k * height * width];
        }
    return total;
}
