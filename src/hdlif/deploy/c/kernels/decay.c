/* Returns e^-(x / 1024) times 2^20, or slightly more, for x below 16384: interpolates linearly in a table with steps of
   a quarter, whose entries are rounded up. */
static uint32_t decay(uint32_t x)
{
    static const uint32_t table[65] = {@table@};
    const uint32_t upper = table[x >> 8], lower = table[(x >> 8) + 1];
    return upper - ((upper - lower) * (x & 255) >> 8);
}
