/* Return the begin and the end of the part of a window that is on a map of `size` with `padding` before it. */
static uint32_t begin_of(uint32_t begin, uint32_t padding)
{
    return begin < padding ? 0 : begin - padding;
}

static uint32_t end_of(uint32_t end, uint32_t padding, uint32_t size)
{
    return end - padding < size ? end - padding : size;
}
