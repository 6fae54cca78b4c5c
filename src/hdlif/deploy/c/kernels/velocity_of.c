/* Returns the mean gradient or, with momentum, the new velocity, which replaces the previous one. */
static NUMBER velocity_of(const NUMBER *sums, const NUMBER *velocities, uint32_t k, NUMBER terms)
{
    const NUMBER mean = sums[k] / terms;
    return velocities != 0 ? @momentum@ * velocities[k] + mean : mean;
}
