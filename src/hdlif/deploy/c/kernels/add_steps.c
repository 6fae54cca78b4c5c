/* Two steps' changes of a code in one word, this many bits apart: early + late * 2^APART. */
#if defined(__ARM_FEATURE_DSP)
#define APART 27
#else
#define APART 16
#endif

/* Adds the listed changes, times their weights, to the sums of a group; a change of 0 ends the list. */
typedef void (*add_steps)(const struct layer *layer, const uint8_t *weights, const CHANGE *change, int32_t *sums);
