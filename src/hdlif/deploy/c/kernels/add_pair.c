/* Adds the two signed 16-bit sums in a word: the lower one and, corrected for its borrow if negative, the upper one. */
static void add_pair(uint32_t word, int32_t *sums)
{
    const int32_t lower = (int32_t)((word & 0xffffu) ^ 0x8000u) - 0x8000;
    const uint32_t rest = (word - (uint32_t)lower) >> 16;
    sums[0] += lower;
    sums[1] += (int32_t)(rest ^ 0x8000u) - 0x8000;
}
