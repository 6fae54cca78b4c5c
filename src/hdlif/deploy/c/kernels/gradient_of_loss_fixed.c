/* Computes the cross-entropy's gradient in units of 2^-15: the probabilities of the logits, minus 1 at the target. */
static void gradient_of_loss_fixed(const NUMBER *logits, uint32_t classes, uint32_t target, int32_t *gradient)
{
    int32_t most = logits[0], total = 0;
    for (uint32_t k = 1; k < classes; k++)
        most = logits[k] > most ? logits[k] : most;
    for (uint32_t k = 0; k < classes; k++) {
        /* e^-x = 2^-(n + r), with a polynomial of r */
        const int32_t product = ((most - logits[k]) >> @drop@) * @log2_e@, n = product >> @bits@;
        const int32_t r = (product & @mask@) @to_15@;
        const int32_t power = 32768 - (r * (@a@ - (r * (@b@ - (r * @c@ >> 15)) >> 15)) >> 15);
        gradient[k] = power >> (n < 16 ? n : 16);
        total += gradient[k];
    }
    for (uint32_t k = 0; k < classes; k++)
        gradient[k] = (gradient[k] * 32768 + total / 2) / total;
    gradient[target] -= 32768;
}
