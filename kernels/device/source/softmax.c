#include "arithmetic.h"
#include "dsp.h"
#include "kernels.h"

/* Differences to the largest input are held in Q5.26, sums of exponentials in Q12.19. */
enum { DIFFERENCE_BITS = 5, SUM_BITS = 12, FRACTION_BITS = 31 - DIFFERENCE_BITS };

/* exp of Q0.31 values in [-1/4, 0): a series around -1/8. */
static int32_t exp_of_last_quarter(int32_t a)
{
    const int32_t exp_of_minus_eighth = 1895147668, third = 715827883;
    int32_t x = a + (1 << 28);
    int32_t x2 = high_product(x, x);
    int32_t x3 = high_product(x2, x);
    int32_t x4_over_4 = divide_by_power(high_product(x2, x2), 2);
    int32_t series = divide_by_power(high_product(x4_over_4 + x3, third) + x2, 1);
    return exp_of_minus_eighth + high_product(exp_of_minus_eighth, x + series);
}

/* exp of Q5.26 values that are zero or negative, in Q0.31. */
static int32_t exp_on_negative_values(int32_t a)
{
    /* exp(-1/4), exp(-1/2), … exp(-16) */
    static const int32_t exp_of_powers[] = {1672461947, 1302514674, 790015084, 290630308,
                                            39332535,   720401,     242};
    const int32_t quarter = 1 << (FRACTION_BITS - 2);
    if (a == 0)
        return INT32_MAX;
    int32_t within = (a & (quarter - 1)) - quarter;
    int32_t remainder = within - a;
    int32_t result = exp_of_last_quarter(saturating_shift(within, DIFFERENCE_BITS));
    for (int32_t i = 0; i < 7; i++)
        if (remainder >> (FRACTION_BITS - 2 + i) & 1)
            result = high_product(result, exp_of_powers[i]);
    return result;
}

static int32_t leading_zeros(uint32_t x)
{
    int32_t zeros = 0;
    for (; !(x & 0x80000000u); x <<= 1)
        zeros++;
    return zeros;
}

/* 1 / (1 + x) of Q0.31 values in [0, 1): three steps of Newton's method. */
static int32_t one_over_one_plus(int32_t x)
{
    int32_t half_denominator = (int32_t)(((int64_t)x + INT32_MAX + 1) >> 1);
    int32_t guess = 1515870810 + high_product(half_denominator, -1010580540);
    for (int32_t step = 0; step < 3; step++) {
        int32_t miss = (1 << 29) - high_product(half_denominator, guess);
        guess += saturating_shift(high_product(guess, miss), 2);
    }
    return saturating_shift(guess, 1);
}

static int32_t largest_of(const int8_t *row, int32_t depth)
{
    int32_t largest = INT8_MIN;
    int32_t i = 0;
#if MCUSIM_DSP
    int32_t best = (int32_t)0x80808080;
    for (; i + 4 <= depth; i += 4)
        best = larger_bytes(load_four(row + i), best);
    for (int32_t lane = 0; lane < 32; lane += 8)
        largest = (int8_t)(best >> lane) > largest ? (int8_t)(best >> lane) : largest;
#endif
    for (; i < depth; i++)
        largest = row[i] > largest ? row[i] : largest;
    return largest;
}

static int32_t exponential(const struct mcusim_softmax *shape, int32_t difference)
{
    return exp_on_negative_values(rescale(difference, shape->multiplier, shape->left_shift));
}

void mcusim_softmax_s8(const struct mcusim_softmax *shape, const int8_t *input, int8_t *output)
{
    for (int32_t row = 0; row < shape->rows; row++) {
        int32_t largest = largest_of(input, shape->depth);
        uint32_t total = 0;
        for (int32_t i = 0; i < shape->depth; i++)
            if (input[i] - largest >= shape->least_difference)
                total += (uint32_t)divide_by_power(exponential(shape, input[i] - largest), SUM_BITS);
        int32_t headroom = leading_zeros(total);
        int32_t reciprocal = one_over_one_plus((int32_t)((total << headroom) - 0x80000000u));
        /* 23: from Q0.31 to a stored scale of 1 / 256. */
        int32_t shift = SUM_BITS - headroom + 23;
        for (int32_t i = 0; i < shape->depth; i++) {
            int32_t difference = input[i] - largest;
            int32_t share = 0;
            /* More than 31 only where 512 inputs and more are the largest: shares of nothing, and
             * TFLite Micro stops. */
            if (difference >= shape->least_difference && shift <= 31)
                share = divide_by_power(high_product(reciprocal, exponential(shape, difference)),
                                        shift);
            output[i] = (int8_t)clamp(share + INT8_MIN, INT8_MIN, INT8_MAX);
        }
        input += shape->depth;
        output += shape->depth;
    }
}
