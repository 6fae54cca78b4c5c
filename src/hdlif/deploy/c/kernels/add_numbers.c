/* Adds an input's time steps, times its weights, to the totals of a group. */
typedef void (*add_@input@)(const struct layer *layer, const void *weights, uint32_t entry, const @type@ *input,
                            TOTAL *totals);
