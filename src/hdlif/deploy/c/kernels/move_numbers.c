/* Moves numbers, in units of their squared start values if given, or only checks that all would be finite. */
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
