/* The row for step t: the last one beyond the end. */
static uint32_t row_of(uint32_t t, uint32_t rows)
{
    return t < rows ? t : rows - 1;
}
