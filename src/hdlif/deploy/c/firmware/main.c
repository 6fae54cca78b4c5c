/* Shows the network the samples of samples.h, and says what it takes each of them for. With BY_ANSWER (for example
   make CFLAGS="-O2 -DBY_ANSWER") all time steps of a sample are one call. */
#include <string.h>

#include "@name@.h"
#include "port.h"
#include "samples.h"

#if defined(BY_ANSWER)
static @name@_answer_work work;
#else
static @name@_state state;
static @name@_work work;
#endif

/* Maps of outputs are too large for a stack. */
#if @NAME@_OUTPUTS > @NAME@_LABELS
#define LASTING static
#else
#define LASTING
#endif

/* Runs a sample; the sums of its outputs over the steps, and how many outputs are others than expected. */
static uint32_t run(uint32_t sample, @name@_total *sums)
{
    LASTING @name@_number outputs[@NAME@_TIME_STEPS][@NAME@_OUTPUTS];
    uint32_t differ = 0;
#if defined(BY_ANSWER)
    @name@_answer(&work, SAMPLES[sample][0], outputs);
#else
    @name@_start(&state);
    for (uint32_t t = 0; t < @NAME@_TIME_STEPS; t++)
        @name@_step(&state, &work, SAMPLES[sample][FRAMES_OF_SAMPLE == 1 ? 0 : t], outputs[t]);
#endif
    for (uint32_t k = 0; k < @NAME@_OUTPUTS; k++)
        sums[k] = 0;
    for (uint32_t t = 0; t < @NAME@_TIME_STEPS; t++) {
        for (uint32_t k = 0; k < @NAME@_OUTPUTS; k++) {
            sums[k] += outputs[t][k];
            differ += memcmp(&outputs[t][k], &EXPECTED[sample][t][k], sizeof outputs[t][k]) != 0;
        }
    }
    return differ;
}

/* The label of the largest sum; of maps there is none for all of a sample. */
static const char *label_of(const @name@_total *sums)
{
#if @NAME@_OUTPUTS > @NAME@_LABELS
    (void)sums;
    return "done";
#else
    uint32_t best = 0;
    for (uint32_t k = 1; k < @NAME@_OUTPUTS; k++)
        best = sums[k] > sums[best] ? k : best;
    return @name@_labels[best];
#endif
}

int main(void)
{
    uint32_t differ = 0, longest = 0;
    for (uint32_t sample = 0; sample < COUNT_OF_SAMPLES; sample++) {
        LASTING @name@_total sums[@NAME@_OUTPUTS];
        start_ticks();
        differ += run(sample, sums);
        const uint32_t took = ticks();
        longest = took > longest ? took : longest;
        put("sample ");
        put_number(sample);
        put(": ");
        put(label_of(sums));
        put("\n");
    }
    put_number(differ);
    put(" outputs differ; stack: ");
    put_number(stack_bytes());
    put(" bytes; longest sample: ");
    put_number(longest);
    put(" ticks\n");
    return differ != 0;
}
