int @name@_is_sure(const @name@_total *sums, uint32_t steps)
{
    @name@_total most = sums[0];
    uint32_t total = 0;
    for (uint32_t k = 1; k < @outputs@; k++)
        most = sums[k] > most ? sums[k] : most;
    for (uint32_t k = 0; k < @outputs@; k++) {
        const uint32_t below = (uint32_t)most - (uint32_t)sums[k];
        const uint32_t mean = @mean@;
        total += decay(mean < 16383 ? mean : 16383);
        if (total > @limit@u)
            return 0;
    }
    return 1;
}
