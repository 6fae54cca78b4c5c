/* 1 / (1 + e^-x) within 1e-6, in the order of operations that the artefact's format states. */
static NUMBER sigmoid(NUMBER x)
{
    const NUMBER size = x < 0.0f ? -x : x;
    const NUMBER a = size < 30.0f ? size : 30.0f;
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
    const NUMBER e = p * power;
    return (x >= 0.0f ? 1.0f : e) / (1.0f + e);
}
