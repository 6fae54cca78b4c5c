/* Returns the row or column of the output that reads input `at` with a tap; -1 if none does. */
static int32_t output_of(uint32_t at, int32_t tap, int32_t stride, int32_t padding, int32_t dilation, uint32_t outputs)
{
    const int32_t moved = (int32_t)at + padding - tap * dilation;
    if (moved < 0 || moved % stride != 0 || moved / stride >= (int32_t)outputs)
        return -1;
    return moved / stride;
}
