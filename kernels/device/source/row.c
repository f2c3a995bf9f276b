#include "arithmetic.h"
#include "dsp.h"
#include "kernels.h"

static int8_t stored(const struct mcusim_scaling *scaling, int32_t channel, int32_t sum)
{
    int32_t at = scaling->per_channel ? channel : 0;
    int32_t scaled = rescale(sum, scaling->multipliers[at], scaling->shifts[at]);
    return (int8_t)clamp(scaled + scaling->output_offset, scaling->low, scaling->high);
}

static uint32_t plain_sum(const struct mcusim_scaling *scaling, int32_t depth, const int8_t *input,
                          const int8_t *weights, uint32_t sum)
{
    for (int32_t i = 0; i < depth; i++)
        sum += (uint32_t)((input[i] + scaling->input_offset) *
                          (weights[i] + scaling->filter_offset));
    return sum;
}

#if MCUSIM_DSP
/* Two rows of weights share the widened inputs: eight products a turn. */
static void two_sums(const struct mcusim_scaling *scaling, int32_t depth, const int8_t *input,
                     const int8_t *first, const int8_t *second, int32_t sums[2])
{
    int32_t offset = in_both(scaling->input_offset), filter = in_both(scaling->filter_offset);
    int32_t a = sums[0], b = sums[1];
    int32_t i = 0;
    for (; i + 4 <= depth; i += 4) {
        int32_t word = load_four(input + i);
        int32_t even = even_bytes(offset, word), odd = odd_bytes(offset, word);
        word = load_four(first + i);
        a = __smlad(even, even_bytes(filter, word), a);
        a = __smlad(odd, odd_bytes(filter, word), a);
        word = load_four(second + i);
        b = __smlad(even, even_bytes(filter, word), b);
        b = __smlad(odd, odd_bytes(filter, word), b);
    }
    sums[0] = (int32_t)plain_sum(scaling, depth - i, input + i, first + i, (uint32_t)a);
    sums[1] = (int32_t)plain_sum(scaling, depth - i, input + i, second + i, (uint32_t)b);
}
#endif

void mcusim_row_s8(const struct mcusim_scaling *scaling, int32_t depth, int32_t channels,
                   const int8_t *input, const int8_t *weights, const int32_t *bias, int8_t *output)
{
    int32_t channel = 0;
#if MCUSIM_DSP
    for (; channel + 2 <= channels; channel += 2) {
        int32_t sums[2] = {bias ? bias[channel] : 0, bias ? bias[channel + 1] : 0};
        two_sums(scaling, depth, input, weights, weights + depth, sums);
        output[channel] = stored(scaling, channel, sums[0]);
        output[channel + 1] = stored(scaling, channel + 1, sums[1]);
        weights += 2 * depth;
    }
#endif
    for (; channel < channels; channel++) {
        uint32_t sum = bias ? (uint32_t)bias[channel] : 0;
        sum = plain_sum(scaling, depth, input, weights, sum);
        output[channel] = stored(scaling, channel, (int32_t)sum);
        weights += depth;
    }
}

void mcusim_dense_s8(const struct mcusim_dense *shape, const int8_t *input, const int8_t *weights,
                     const int32_t *bias, int8_t *output)
{
    for (int32_t batch = 0; batch < shape->batches; batch++)
        mcusim_row_s8(&shape->scaling, shape->depth, shape->outputs, input + batch * shape->depth,
                      weights, bias, output + batch * shape->outputs);
}
