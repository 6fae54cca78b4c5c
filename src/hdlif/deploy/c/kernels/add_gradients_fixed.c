/* Adds the gradients of weights; clamps sums to 2^30 in magnitude. Sums are [inputs][outputs], like the weights. */
static void add_gradients_fixed(const int32_t *gradient, uint32_t classes, const uint8_t *codes, uint32_t inputs,
        int32_t *sums)
{
    const int32_t most = 1 << 30;
    for (uint32_t j = 0; j < inputs; j++, sums += classes)
        for (uint32_t k = 0; k < classes && codes[j] != 0; k++) {
            const int32_t sum = sums[k] + gradient[k] * codes[j];
            sums[k] = sum > most ? most : sum < -most ? -most : sum;
        }
}
