/* Returns the nearest 16-bit integer of a number. Halves round to even. */
static int32_t nearest(float x)
{
    if (!(x > -32768))
        return -32768;
    if (x >= 32767)
        return 32767;
    const int32_t whole = (int32_t)x;
    const float rest = x - (float)whole;
    const int is_odd = whole & 1;
    return whole + (rest > 0.5f || (rest == 0.5f && is_odd)) - (rest < -0.5f || (rest == -0.5f && is_odd));
}
