#if @vectors@ && defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>
#endif

/* Adds the inputs of all channels at one position of a window, times their weights, to the totals of a group; `input`
   and `entry` are those of the first channel. */
typedef void (*add_@input@)(const struct layer *layer, const void *weights, uint32_t entry, const @type@ *input,
                            TOTAL *totals);
