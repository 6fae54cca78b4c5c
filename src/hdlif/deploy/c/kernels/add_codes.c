/* Adds the listed codes, times their weights, to the sums of a group. */
typedef void (*add_codes)(const struct layer *layer, const uint8_t *weights, const WORK *work, uint32_t count,
                          int32_t *sums);
