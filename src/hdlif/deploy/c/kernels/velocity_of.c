/* The mean gradient; with momentum the velocity, which replaces the one before. */
static NUMBER velocity_of(const NUMBER *sums, const NUMBER *velocities, uint32_t k, NUMBER terms)
{
    const NUMBER mean = sums[k] / terms;
    return velocities != 0 ? @momentum@ * velocities[k] + mean : mean;
}
