/* Returns the row for step t, or the last row after the end. */
static uint32_t row_of(uint32_t t, uint32_t rows)
{
    return t < rows ? t : rows - 1;
}
