/* Returns the window's input for entry k of [outputs][channels][kernel_y][kernel_x]; sets `output` to its output within
   the group. */
static uint32_t place_of(const struct layer *layer, uint32_t k, uint32_t *output)
{
    const uint32_t taps = (uint32_t)(layer->kernel_y * layer->kernel_x), tap = k % taps;
    const uint32_t channel = k / taps % layer->channels, whole = k / taps / layer->channels;
    *output = whole % layer->outputs;
    return (whole / layer->outputs * taps + tap) * layer->channels + channel;
}
