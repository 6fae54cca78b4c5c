/* Output of the program: Arm semihosting, through a debugger or an emulator, or else standard output. */
#ifndef PORT_H
#define PORT_H

#include <stdint.h>

#if defined(__arm__) && !defined(__linux__)

static inline int32_t semihosting(int32_t operation, const void *argument)
{
    register int32_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = argument;
    __asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static inline void put(const char *text)
{
    semihosting(0x04, text);
}

static inline void leave(int status)
{
    const uint32_t why[2] = {0x20026u, (uint32_t)status};
    semihosting(0x20, why);
    for (;;) {
    }
}

/* The maximum depth of the stack so far. */
uint32_t stack_bytes(void);

/* Instructions or cycles, from a 24-bit counter that counts down at the processor's clock. */
#define SYSTICK ((volatile uint32_t *)0xe000e010u)

static inline void start_ticks(void)
{
    SYSTICK[1] = 0xffffffu;
    SYSTICK[2] = 0;
    SYSTICK[0] = 5;
}

/* Ticks since start_ticks; 0 if the counter has overflowed. */
static inline uint32_t ticks(void)
{
    const uint32_t took = 0xffffffu - SYSTICK[2];
    return (SYSTICK[0] & 0x10000u) != 0 ? 0 : took;
}

#else

#include <stdio.h>
#include <stdlib.h>

static inline void put(const char *text)
{
    fputs(text, stdout);
}

static inline void leave(int status)
{
    exit(status);
}

static inline uint32_t stack_bytes(void)
{
    return 0;
}

static inline void start_ticks(void)
{
}

static inline uint32_t ticks(void)
{
    return 0;
}

#endif

static inline void put_number(uint32_t value)
{
    char digits[11];
    char *first = digits + 10;
    *first = 0;
    do {
        *--first = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    put(first);
}

#endif
