/* Returns a value after an update by its mean gradient, with one rounding, clamped to `most` in magnitude. */
static int32_t moved_integer(int32_t value, int32_t sum, uint32_t terms, uint32_t rate, int32_t factor, uint32_t drop,
        int32_t most)
{
    const int64_t unit = (int64_t)terms << drop, by = (int64_t)sum * (int32_t)rate * factor + unit / 2;
    const int64_t change = by / unit - (by % unit < 0), there = value - change;
    return there > most ? most : there < -most ? -most : (int32_t)there;
}
