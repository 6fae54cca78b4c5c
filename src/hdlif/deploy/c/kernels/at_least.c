static int32_t at_least(int32_t x, int32_t least)
{
    return x > least ? x : least;
}
