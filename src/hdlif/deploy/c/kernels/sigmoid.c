/* Returns 1 / (1 + e^-x) within 1e-6. */
static NUMBER sigmoid(NUMBER x)
{
    const NUMBER e = exponential(x < 0.0f ? -x : x);
    return (x >= 0.0f ? 1.0f : e) / (1.0f + e);
}
