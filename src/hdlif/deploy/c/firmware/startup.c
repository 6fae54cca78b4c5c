/* What a Cortex-M does from reset to main: the floating-point unit is switched on where there is one, variables get
   their values, and the stack is filled with a pattern by which its depth is found later. */
#include <stdint.h>
#include <string.h>

#include "port.h"

extern uint32_t load_of_data[], start_of_data[], end_of_data[], start_of_bss[], end_of_bss[], top_of_stack[];

#define PATTERN 0xa5a5a5a5u
#define COPROCESSORS (*(volatile uint32_t *)0xe000ed88u)

int main(void);

void reset(void)
{
#if defined(__ARM_FP)
    COPROCESSORS |= 0xfu << 20;
    __asm volatile("dsb\n\tisb" ::: "memory");
#endif
    memcpy(start_of_data, load_of_data, (uintptr_t)end_of_data - (uintptr_t)start_of_data);
    memset(start_of_bss, 0, (uintptr_t)end_of_bss - (uintptr_t)start_of_bss);
    uint32_t here;
    for (volatile uint32_t *word = end_of_bss; (uintptr_t)word < (uintptr_t)&here - 64; word++)
        *word = PATTERN;
    leave(main());
}

static void fault(void)
{
    put("fault\n");
    leave(3);
}

uint32_t stack_bytes(void)
{
    const uint32_t *word = end_of_bss;
    while (word < top_of_stack && *word == PATTERN)
        word++;
    return (uint32_t)((uintptr_t)top_of_stack - (uintptr_t)word);
}

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[15])(void);
} vectors = {top_of_stack, {reset, fault, fault, fault, fault, fault}};
