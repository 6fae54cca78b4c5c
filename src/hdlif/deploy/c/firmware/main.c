/* Runs the network on the samples of samples.h, and prints its predictions. With BY_ANSWER (for example
   make CFLAGS="-O2 -DBY_ANSWER") all time steps of a sample are one call, if @name@.h has @name@_answer. */
#include <string.h>

#include "@name@.h"
#include "port.h"
#include "samples.h"

#if defined(BY_ANSWER) && !defined(@NAME@_ANSWERS)
#error @name@.h has no @name@_answer: remove -DBY_ANSWER
#endif

#if defined(BY_ANSWER)
static @name@_answer_work work;
#else
static @name@_state state;
static @name@_work work;
#endif

#if defined(@NAME@_LEARNS)
static @name@_learned learned;
#define LEARNED &learned,
#else
#define LEARNED
#endif

/* Output maps are too large for the stack. */
#if @NAME@_OUTPUTS > @NAME@_LABELS
#define LASTING static
#else
#define LASTING
#endif

/* Runs a sample, sums its outputs over the steps, and returns the number of unexpected outputs. */
static uint32_t run(uint32_t sample, @name@_total *sums)
{
    LASTING @name@_number outputs[@NAME@_TIME_STEPS][@NAME@_OUTPUTS];
    uint32_t differ = 0;
#if defined(BY_ANSWER)
    @name@_answer(&work, SAMPLES[sample][0], outputs);
#else
    @name@_start(&state);
    for (uint32_t t = 0; t < @NAME@_TIME_STEPS; t++)
        @name@_step(&state, &work, LEARNED SAMPLES[sample][FRAMES_OF_SAMPLE == 1 ? 0 : t], outputs[t]);
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

/* The label of the largest sum; maps have no label for the entire sample. */
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

#if defined(@NAME@_LEARNS)
static @name@_gradients gradients;
static @name@_learn_work learn_work;
/* Two slots, in place of memory that keeps its content without power. */
static @name@_learned slots[2];

/* Erased memory and values of another network are empty. */
static int is_complete(const @name@_learned *slot)
{
    return slot->network == @NAME@_NETWORK && slot->updates > 0;
}

static const @name@_learned *newest(void)
{
    const int second = is_complete(&slots[1]) && !(is_complete(&slots[0]) && slots[0].updates > slots[1].updates);
    return &slots[second];
}

/* Overwrites the older slot, with its number of updates last: after a power cut, the newer slot is complete. */
static void save(void)
{
    @name@_learned *slot = newest() == &slots[0] ? &slots[1] : &slots[0];
    volatile uint32_t *updates = &slot->updates;
    *updates = 0;
    memcpy((char *)slot + sizeof slot->updates, (const char *)&learned + sizeof slot->updates,
           sizeof *slot - sizeof slot->updates);
    *updates = learned.updates;
}

static void restore(void)
{
    if (is_complete(newest()))
        learned = *newest();
    else
        @name@_learned_start(&learned);
}

/* Learns the class of each sample, with one update each; returns the number of unexpected bytes. */
static uint32_t learn(void)
{
    uint32_t differ = 0, step = 0, update = 0;
    for (uint32_t sample = 0; sample < COUNT_OF_SAMPLES; sample++) {
        restore();
        @name@_start(&state);
        for (uint32_t t = 0; t < @NAME@_TIME_STEPS; t++) {
            @name@_number outputs[@NAME@_OUTPUTS];
            const @name@_number *frame = SAMPLES[sample][FRAMES_OF_SAMPLE == 1 ? 0 : t];
            start_ticks();
            @name@_learn_step(&state, &work, &learned, &gradients, &learn_work, frame, TARGETS[sample], outputs);
            const uint32_t of_step = ticks();
            step = of_step > step ? of_step : step;
        }
        start_ticks();
        @name@_update(&learned, &gradients, @NAME@_DEFAULT_RATES);
        const uint32_t of_update = ticks();
        update = of_update > update ? of_update : update;
        save();
    }
    for (uint32_t k = 0; k < sizeof learned; k++)
        differ += ((const uint8_t *)newest())[k] != LEARNED_AT_LAST[k];
    put("learned: longest step: ");
    put_number(step);
    put(" ticks; longest update: ");
    put_number(update);
    put(" ticks\n");
    return differ;
}
#endif

int main(void)
{
#if defined(@NAME@_LEARNS)
    restore();
#endif
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
#if defined(@NAME@_LEARNS)
    differ += learn();
#endif
    put_number(differ);
    put(" outputs differ; stack: ");
    put_number(stack_bytes());
    put(" bytes; longest sample: ");
    put_number(longest);
    put(" ticks\n");
    return differ != 0;
}
