/* Stores a weight in its field of bits. */
static void set_weight(const struct layer *layer, uint8_t *weights, uint32_t bits, uint32_t input, uint32_t output,
        int32_t weight)
{
    const uint32_t per_byte = 8 / bits, shift = output % per_byte * bits, mask = (1u << bits) - 1;
    const uint32_t field = bits == 1 ? weight > 0 : (uint32_t)weight & mask;
    uint8_t *byte = weights + input * layer->row + output / per_byte;
    *byte = (uint8_t)((*byte & ~(mask << shift)) | field << shift);
}

/* Returns the weight of a latent: rounded to the nearest code, halves upwards; with two levels, its sign. */
static int32_t weight_of(int32_t latent, int32_t fraction, int32_t largest, int has_two_levels)
{
    if (has_two_levels)
        return latent >= 0 ? 1 : -1;
    const int32_t unit = 1 << fraction, up = latent + unit / 2;
    const int32_t rounded = up >= 0 ? up / unit : -((unit - 1 - up) / unit);
    return rounded > largest ? largest : rounded < -largest ? -largest : rounded;
}

/* Sets latents to the centres of their codes. */
static void start_latents(const struct layer *layer, const uint8_t *weights, uint32_t bits, int16_t *latents,
        uint32_t size, int32_t fraction)
{
    for (uint32_t k = 0; k < size; k++) {
        uint32_t output, input = place_of(layer, k, &output);
        latents[k] = (int16_t)((int32_t)weight_at(layer, weights, bits, input, output) * (1 << fraction));
    }
}

/* Moves latents by a root mean square of `rate` codes and updates the weights, or only checks for finite gradients. */
static int move_latents(const struct layer *layer, uint8_t *weights, uint32_t bits, int16_t *latents,
        const NUMBER *sums, NUMBER *velocities, uint32_t size, NUMBER terms, NUMBER rate, int32_t fraction,
        int32_t largest, int has_two_levels, int moves)
{
    NUMBER total = 0.0f;
    for (uint32_t k = 0; k < size; k++) {
        const NUMBER velocity = velocity_of(sums, velocities, k, terms);
        total += velocity * velocity;
    }
    if (!moves)
        return isfinite(total) != 0;
    const NUMBER root = sqrtf(total / (NUMBER)size), most = (NUMBER)((largest << fraction) + (1 << (fraction - 1)) - 1);
    for (uint32_t k = 0; k < size; k++) {
        const NUMBER velocity = velocity_of(sums, velocities, k, terms);
        if (root > 0.0f) {
            const NUMBER there = rintf((NUMBER)latents[k] - rate * (NUMBER)(1 << fraction) * velocity / root);
            latents[k] = (int16_t)(there > most ? most : there < -most ? -most : there);
            uint32_t output, input = place_of(layer, k, &output);
            set_weight(layer, weights, bits, input, output, weight_of(latents[k], fraction, largest, has_two_levels));
        }
        if (velocities != 0)
            velocities[k] = velocity;
    }
    return 1;
}
