/* Returns the sigmoid of x / 2048, times 2^15, interpolated in a table from -8 to 8 with steps of an eighth. */
static int32_t gate(int32_t x)
{
    static const int16_t table[130] = {@table@};
    const int32_t at = x + 16384;
    const int32_t lower = table[at >> 8], upper = table[(at >> 8) + 1];
    return lower + (((upper - lower) * (at & 255) + 128) >> 8);
}
