/* The fixed-point arithmetic of TFLite Micro's int8 kernels, as mcusim/kernels/fixed_point.py has it.
 *
 * Integers wrap, as a two's complement machine's do: what may overflow is computed unsigned. */
#ifndef MCUSIM_ARITHMETIC_H
#define MCUSIM_ARITHMETIC_H

#include <stdint.h>

/* High 32 bits of 2 * a * b, rounded to the nearest, ties up; never with both factors -2**31. */
static inline int32_t high_product(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + (1 << 30)) >> 31);
}

/* x / 2**exponent, rounded to the nearest, ties away from zero; exponent in [0, 31]. */
static inline int32_t divide_by_power(int32_t x, int32_t exponent)
{
    uint32_t mask = ((uint32_t)1 << exponent) - 1;
    uint32_t remainder = (uint32_t)x & mask;
    uint32_t threshold = (mask >> 1) + (x < 0);
    return (x >> exponent) + (remainder > threshold);
}

/* x * 2**exponent, saturated; exponent in [0, 31]. */
static inline int32_t saturating_shift(int32_t x, int32_t exponent)
{
    int64_t shifted = (int64_t)((uint64_t)(int64_t)x << exponent);
    return shifted > INT32_MAX ? INT32_MAX : shifted < INT32_MIN ? INT32_MIN : (int32_t)shifted;
}

/* x * multiplier * 2**(shift - 31), rounded twice; a left shift that overflows wraps. */
static inline int32_t rescale(int32_t x, int32_t multiplier, int32_t shift)
{
    if (shift > 0)
        return high_product((int32_t)((uint32_t)x << (shift & 31)), multiplier);
    return divide_by_power(high_product(x, multiplier), -shift);
}

static inline int32_t clamp(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : x;
}

#endif
