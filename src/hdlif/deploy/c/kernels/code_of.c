static NUMBER positive(NUMBER x)
{
    return x > 0.0f ? x : 0.0f;
}

/* Returns min(floor(x), largest) for x >= 0. */
static uint8_t code_of(NUMBER x, uint8_t largest)
{
    return x >= (NUMBER)largest ? largest : (uint8_t)x;
}
