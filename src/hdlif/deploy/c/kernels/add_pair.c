/* The lower and the upper of two signed 16-bit sums in one word, whose sum borrows from the upper where it is below 0. */
static void add_pair(uint32_t word, int32_t *sums)
{
    const int32_t lower = (int32_t)((word & 0xffffu) ^ 0x8000u) - 0x8000;
    const uint32_t rest = (word - (uint32_t)lower) >> 16;
    sums[0] += lower;
    sums[1] += (int32_t)(rest ^ 0x8000u) - 0x8000;
}
