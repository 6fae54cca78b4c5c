/* Returns e^-x within 1e-6 for x >= 0, in the model file format's order of operations; e^-30 for x above 30. */
static NUMBER exponential(NUMBER x)
{
    const NUMBER a = x < 30.0f ? x : 30.0f;
    const int32_t n = (int32_t)(a * 1.44269504f + 0.5f);
    const NUMBER r = (a - (NUMBER)n * 0.693359375f) - (NUMBER)n * -2.12194440e-4f;
    NUMBER p = @sixth@;
    p = p * r + @fifth@;
    p = p * r + @fourth@;
    p = p * r + @third@;
    p = p * r + @second@;
    p = p * r + @first@;
    p = p * r + 1.0f;
    const uint32_t bits = (uint32_t)(127 - n) << 23;
    NUMBER power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}
