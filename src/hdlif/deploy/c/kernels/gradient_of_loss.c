/* Computes the gradient of the cross-entropy: the probabilities of the logits, minus 1 at the target. */
static void gradient_of_loss(const NUMBER *logits, uint32_t classes, uint32_t target, NUMBER *gradient)
{
    NUMBER most = logits[0], total = 0.0f;
    for (uint32_t k = 1; k < classes; k++)
        most = logits[k] > most ? logits[k] : most;
    for (uint32_t k = 0; k < classes; k++) {
        gradient[k] = exponential(most - logits[k]);
        total += gradient[k];
    }
    for (uint32_t k = 0; k < classes; k++)
        gradient[k] = gradient[k] / total;
    gradient[target] -= 1.0f;
}
