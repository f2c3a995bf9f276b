/* Four int8 values at a time, where the core has the instructions. */
#ifndef MCUSIM_DSP_H
#define MCUSIM_DSP_H

#include <stdint.h>

#if defined(__ARM_FEATURE_DSP) && !defined(MCUSIM_PLAIN)
#define MCUSIM_DSP 1
#include <arm_acle.h>

/* The cores that have these instructions load words from any address. */
static inline int32_t load_four(const int8_t *from)
{
    int32_t word;
    __builtin_memcpy(&word, from, sizeof word);
    return word;
}

static inline void store_four(int8_t *to, int32_t word)
{
    __builtin_memcpy(to, &word, sizeof word);
}

/* The same halfword twice. */
static inline int32_t in_both(int32_t value)
{
    return (int32_t)((uint32_t)value << 16 | ((uint32_t)value & 0xffff));
}

/* Bytes 0 and 2, and bytes 1 and 3, each plus a halfword of `offsets`. */
static inline int32_t even_bytes(int32_t offsets, int32_t word)
{
    return __sxtab16(offsets, word);
}

static inline int32_t odd_bytes(int32_t offsets, int32_t word)
{
    uint32_t rotated = (uint32_t)word >> 8 | (uint32_t)word << 24;
    return __sxtab16(offsets, (int32_t)rotated);
}

/* The larger of each pair of bytes. */
static inline int32_t larger_bytes(int32_t a, int32_t b)
{
    __ssub8(a, b); /* leaves in the flags which bytes of a are not less */
    return (int32_t)__sel((uint8x4_t)a, (uint8x4_t)b);
}

#else
#define MCUSIM_DSP 0
#endif

#endif
