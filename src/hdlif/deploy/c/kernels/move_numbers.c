/* Moves numbers, in units of the squares of their starts if these are given, or looks whether all would be finite. */
static int move_numbers(NUMBER *values, const NUMBER *start, const NUMBER *sums, NUMBER *velocities, uint32_t size,
        NUMBER terms, NUMBER rate, int moves)
{
    for (uint32_t k = 0; k < size; k++) {
        const NUMBER velocity = velocity_of(sums, velocities, k, terms);
        const NUMBER unit = start != 0 ? start[k] * start[k] : 1.0f, value = values[k] - rate * unit * velocity;
        if (!isfinite(velocity) || !isfinite(value))
            return 0;
        if (moves)
            values[k] = value;
        if (moves && velocities != 0)
            velocities[k] = velocity;
    }
    return 1;
}
