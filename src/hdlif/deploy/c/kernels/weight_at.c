/* Returns the weight of a window's input for an output of its group, from a table of numbers or a field of bits. */
static NUMBER weight_at(const struct layer *layer, const void *weights, uint32_t bits, uint32_t input, uint32_t output)
{
    if (bits == 0)
        return ((const NUMBER *)weights)[input * layer->row + output];
    const uint32_t per_byte = 8 / bits, sign = 1u << (bits - 1);
    const uint8_t byte = ((const uint8_t *)weights)[input * layer->row + output / per_byte];
    const uint32_t field = (uint32_t)byte >> (output % per_byte * bits) & ((1u << bits) - 1);
    if (bits == 1)
        return field != 0 ? 1.0f : -1.0f;
    return (NUMBER)((int32_t)(field ^ sign) - (int32_t)sign);
}
