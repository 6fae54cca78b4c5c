static int32_t at_most(int32_t x, int32_t most)
{
    return x < most ? x : most;
}
