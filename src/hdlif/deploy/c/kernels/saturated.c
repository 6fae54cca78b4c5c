/* The nearest of 16 bits. */
static int32_t saturated(int32_t x)
{
    return x > 32767 ? 32767 : x < -32768 ? -32768 : x;
}
