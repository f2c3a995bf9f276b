#include "arithmetic.h"
#include "dsp.h"
#include "kernels.h"

static int8_t stored(const struct mcusim_scaling *scaling, int32_t channel, uint32_t sum)
{
    int32_t at = scaling->per_channel ? channel : 0;
    int32_t scaled = rescale((int32_t)sum, scaling->multipliers[at], scaling->shifts[at]);
    return (int8_t)clamp(scaled + scaling->output_offset, scaling->low, scaling->high);
}

/* What the weights' offset adds to the sum of every channel: sums wrap, so that it may come first.
 */
static uint32_t share_of_filter_offset(const struct mcusim_scaling *scaling, int32_t depth,
                                       const int8_t *input)
{
    uint32_t sum = 0;
    if (scaling->filter_offset == 0)
        return 0;
    for (int32_t i = 0; i < depth; i++)
        sum += (uint32_t)(input[i] + scaling->input_offset);
    return sum * (uint32_t)scaling->filter_offset;
}

static uint32_t one_sum(int32_t offset, int32_t depth, const int8_t *input, const int8_t *weights,
                        uint32_t sum)
{
    for (int32_t i = 0; i < depth; i++)
        sum += (uint32_t)((input[i] + offset) * weights[i]);
    return sum;
}

/* Two rows of weights share the inputs, with their offset. */
static void two_sums(int32_t offset, int32_t depth, const int8_t *input, const int8_t *first,
                     const int8_t *second, uint32_t sums[2])
{
    uint32_t a = sums[0], b = sums[1];
    const int8_t *end = input + depth;
#if MCUSIM_DSP
    int32_t both = in_both(offset);
    for (; end - input >= 4; input += 4, first += 4, second += 4) {
        int32_t inputs = load_four(input), one = load_four(first), other = load_four(second);
        int32_t even = even_bytes(both, inputs), odd = odd_bytes(both, inputs);
        a = (uint32_t)__smlad(even, even_bytes(0, one), (int32_t)a);
        a = (uint32_t)__smlad(odd, odd_bytes(0, one), (int32_t)a);
        b = (uint32_t)__smlad(even, even_bytes(0, other), (int32_t)b);
        b = (uint32_t)__smlad(odd, odd_bytes(0, other), (int32_t)b);
    }
#endif
    while (input < end) {
        int32_t value = *input++ + offset;
        a += (uint32_t)(value * *first++);
        b += (uint32_t)(value * *second++);
    }
    sums[0] = a;
    sums[1] = b;
}

void mcusim_row_s8(const struct mcusim_scaling *scaling, int32_t depth, int32_t channels,
                   const int8_t *input, const int8_t *weights, const int32_t *bias, int8_t *output)
{
    uint32_t every = share_of_filter_offset(scaling, depth, input);
    int32_t offset = scaling->input_offset;
    int32_t channel = 0;
    for (; channel + 2 <= channels; channel += 2) {
        uint32_t sums[2] = {every, every};
        if (bias) {
            sums[0] += (uint32_t)bias[channel];
            sums[1] += (uint32_t)bias[channel + 1];
        }
        two_sums(offset, depth, input, weights, weights + depth, sums);
        output[channel] = stored(scaling, channel, sums[0]);
        output[channel + 1] = stored(scaling, channel + 1, sums[1]);
        weights += 2 * depth;
    }
    if (channel < channels) {
        uint32_t sum = bias ? every + (uint32_t)bias[channel] : every;
        sum = one_sum(offset, depth, input, weights, sum);
        output[channel] = stored(scaling, channel, sum);
    }
}

#if MCUSIM_DSP
/* The last few bytes of a row as the lowest of a word. */
static int32_t load_few(const int8_t *from, int32_t count)
{
    uint32_t word = 0;
    for (int32_t i = 0; i < count; i++)
        word |= (uint32_t)(uint8_t)from[i] << 8 * i;
    return (int32_t)word;
}

void mcusim_widen_s8(int32_t offset, int32_t depth, const int8_t *input, int32_t *to)
{
    int32_t both = in_both(offset);
    for (; depth > 0; depth -= 4, input += 4, to += 2) {
        int32_t word = depth >= 4 ? load_four(input) : load_few(input, depth);
        to[0] = even_bytes(both, word);
        to[1] = odd_bytes(both, word);
    }
}

/* Four inputs of two widened columns with four weights of two rows: sixteen products. */
static inline void sixteen(const int32_t *x, const int32_t *y, int32_t one, int32_t other,
                           int32_t sums[4])
{
    int32_t even = even_bytes(0, one), odd = odd_bytes(0, one);
    sums[0] = __smlad(odd, x[1], __smlad(even, x[0], sums[0]));
    sums[1] = __smlad(odd, y[1], __smlad(even, y[0], sums[1]));
    even = even_bytes(0, other);
    odd = odd_bytes(0, other);
    sums[2] = __smlad(odd, x[1], __smlad(even, x[0], sums[2]));
    sums[3] = __smlad(odd, y[1], __smlad(even, y[0], sums[3]));
}

static void four_sums(int32_t depth, const int32_t *x, const int32_t *y, const int8_t *first,
                      const int8_t *second, int32_t sums[4])
{
    const int8_t *end = first + (depth & ~3);
    int32_t held[4] = {sums[0], sums[1], sums[2], sums[3]};
    for (; first != end; x += 2, y += 2, first += 4, second += 4)
        sixteen(x, y, load_four(first), load_four(second), held);
    if (depth & 3)
        sixteen(x, y, load_few(first, depth & 3), load_few(second, depth & 3), held);
    for (int32_t i = 0; i < 4; i++)
        sums[i] = held[i];
}

void mcusim_two_pixels_s8(const struct mcusim_scaling *scaling, int32_t depth, int32_t channels,
                          const int32_t *x, const int32_t *y, const int8_t *weights,
                          const int32_t *bias, int8_t *first, int8_t *second)
{
    for (int32_t channel = 0; channel < channels; channel += 2) {
        /* A last odd channel is computed twice. */
        int32_t next = channel + 1 < channels ? channel + 1 : channel;
        int32_t one = bias ? bias[channel] : 0, other = bias ? bias[next] : 0;
        int32_t sums[4] = {one, one, other, other};
        four_sums(depth, x, y, weights + channel * depth, weights + next * depth, sums);
        first[channel] = stored(scaling, channel, (uint32_t)sums[0]);
        second[channel] = stored(scaling, channel, (uint32_t)sums[1]);
        first[next] = stored(scaling, next, (uint32_t)sums[2]);
        second[next] = stored(scaling, next, (uint32_t)sums[3]);
    }
}
#endif

void mcusim_dense_s8(const struct mcusim_dense *shape, const int8_t *input, const int8_t *weights,
                     const int32_t *bias, int8_t *output)
{
    for (int32_t batch = 0; batch < shape->batches; batch++)
        mcusim_row_s8(&shape->scaling, shape->depth, shape->outputs, input + batch * shape->depth,
                      weights, bias, output + batch * shape->outputs);
}
