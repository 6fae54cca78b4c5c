int @name@_is_sure(const @name@_total *sums, uint32_t steps)
{
    const @name@_total count = (@name@_total)steps;
    @name@_total most = sums[0] / count, total = 0.0f;
    for (uint32_t k = 1; k < @outputs@; k++)
        most = sums[k] / count > most ? sums[k] / count : most;
    for (uint32_t k = 0; k < @outputs@; k++) {
        const @name@_total below = most - sums[k] / count;
        /* excludes infinity and NaN */
        if (!(below >= 0.0f))
            return 0;
        total += exponential(below);
    }
    return @confidence@ * total <= 1.0f;
}
