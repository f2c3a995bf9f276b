#include "arithmetic.h"
#include "dsp.h"
#include "kernels.h"

/* `first` and `second` have their offsets added. */
static int8_t sum(const struct mcusim_addition *shape, int32_t first, int32_t second)
{
    int32_t a = rescale((int32_t)((uint32_t)first << 20), shape->multipliers[0], shape->shifts[0]);
    int32_t b = rescale((int32_t)((uint32_t)second << 20), shape->multipliers[1], shape->shifts[1]);
    int32_t scaled = rescale(a + b, shape->output_multiplier, shape->output_shift);
    return (int8_t)clamp(scaled + shape->output_offset, shape->low, shape->high);
}

void mcusim_add_s8(const struct mcusim_addition *shape, const int8_t *first, const int8_t *second,
                   int8_t *output)
{
    int32_t i = 0;
#if MCUSIM_DSP
    int32_t one = in_both(shape->offsets[0]), other = in_both(shape->offsets[1]);
    for (; i + 4 <= shape->elements; i += 4) {
        int32_t a = load_four(first + i), b = load_four(second + i);
        int32_t even = even_bytes(one, a), odd = odd_bytes(one, a);
        int32_t even_other = even_bytes(other, b), odd_other = odd_bytes(other, b);
        output[i] = sum(shape, (int16_t)even, (int16_t)even_other);
        output[i + 1] = sum(shape, (int16_t)odd, (int16_t)odd_other);
        output[i + 2] = sum(shape, even >> 16, even_other >> 16);
        output[i + 3] = sum(shape, odd >> 16, odd_other >> 16);
    }
#endif
    for (; i < shape->elements; i++)
        output[i] = sum(shape, first[i] + shape->offsets[0], second[i] + shape->offsets[1]);
}
