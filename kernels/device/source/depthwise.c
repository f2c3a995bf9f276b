#include "arithmetic.h"
#include "dsp.h"
#include "kernels.h"

/* The taps of a window that lie on the image: from first, before end. */
struct span {
    int32_t first;
    int32_t end;
};

static struct span taps_inside(const struct mcusim_axis *axis, int32_t output)
{
    int32_t origin = output * axis->stride - axis->padding;
    struct span taps = {0, axis->kernel};
    while (taps.first < taps.end && origin + taps.first * axis->dilation < 0)
        taps.first++;
    while (taps.end > taps.first && origin + (taps.end - 1) * axis->dilation >= axis->inputs)
        taps.end--;
    return taps;
}

static int8_t stored(const struct mcusim_scaling *scaling, int32_t channel, uint32_t sum)
{
    int32_t at = scaling->per_channel ? channel : 0;
    int32_t scaled = rescale((int32_t)sum, scaling->multipliers[at], scaling->shifts[at]);
    return (int8_t)clamp(scaled + scaling->output_offset, scaling->low, scaling->high);
}

/* An output pixel: its taps, and where it begins on the image. */
struct window {
    struct span rows;
    struct span columns;
    int32_t row;
    int32_t column;
};

static const int8_t *pixel(const struct mcusim_convolution *shape, const struct window *at,
                           const int8_t *image, int32_t down, int32_t across)
{
    int32_t row = at->row + down * shape->rows.dilation;
    int32_t column = at->column + across * shape->columns.dilation;
    return image + (row * shape->columns.inputs + column) * shape->in_channels;
}

#if MCUSIM_DSP
/* Four channels that have one filter each. */
static void four_channels(const struct mcusim_convolution *shape, const struct window *at,
                          const int8_t *image, const int8_t *weights, const int32_t *bias,
                          int32_t channel, int8_t *output)
{
    int32_t offset = in_both(shape->scaling.input_offset);
    int32_t sums[4] = {0, 0, 0, 0};
    if (bias)
        for (int32_t i = 0; i < 4; i++)
            sums[i] = bias[channel + i];
    for (int32_t down = at->rows.first; down < at->rows.end; down++) {
        for (int32_t across = at->columns.first; across < at->columns.end; across++) {
            int32_t tap = down * shape->columns.kernel + across;
            int32_t inputs = load_four(pixel(shape, at, image, down, across) + channel);
            int32_t factors = load_four(weights + tap * shape->out_channels + channel);
            int32_t even = even_bytes(offset, inputs), odd = odd_bytes(offset, inputs);
            int32_t even_factors = even_bytes(0, factors), odd_factors = odd_bytes(0, factors);
            sums[0] = __smlabb(even, even_factors, sums[0]);
            sums[1] = __smlabb(odd, odd_factors, sums[1]);
            sums[2] = __smlatt(even, even_factors, sums[2]);
            sums[3] = __smlatt(odd, odd_factors, sums[3]);
        }
    }
    for (int32_t i = 0; i < 4; i++)
        output[channel + i] = stored(&shape->scaling, channel + i, (uint32_t)sums[i]);
}
#endif

static void one_channel(const struct mcusim_convolution *shape, const struct window *at,
                        const int8_t *image, const int8_t *weights, const int32_t *bias,
                        int32_t channel, int32_t multiplier, int8_t *output)
{
    int32_t from = multiplier == 1 ? channel : channel / multiplier;
    uint32_t sum = bias ? (uint32_t)bias[channel] : 0;
    for (int32_t down = at->rows.first; down < at->rows.end; down++) {
        for (int32_t across = at->columns.first; across < at->columns.end; across++) {
            int32_t tap = down * shape->columns.kernel + across;
            int32_t value = pixel(shape, at, image, down, across)[from];
            int32_t weight = weights[tap * shape->out_channels + channel];
            sum += (uint32_t)((value + shape->scaling.input_offset) * weight);
        }
    }
    output[channel] = stored(&shape->scaling, channel, sum);
}

void mcusim_depthwise_s8(const struct mcusim_convolution *shape, const int8_t *input,
                         const int8_t *weights, const int32_t *bias, int8_t *output)
{
    const struct mcusim_axis *rows = &shape->rows, *columns = &shape->columns;
    int32_t multiplier = shape->out_channels / shape->in_channels;
    for (int32_t batch = 0; batch < shape->batches; batch++) {
        for (int32_t y = 0; y < rows->outputs; y++) {
            for (int32_t x = 0; x < columns->outputs; x++) {
                struct window at = {taps_inside(rows, y), taps_inside(columns, x),
                                    y * rows->stride - rows->padding,
                                    x * columns->stride - columns->padding};
                int32_t channel = 0;
#if MCUSIM_DSP
                if (multiplier == 1)
                    for (; channel + 4 <= shape->out_channels; channel += 4)
                        four_channels(shape, &at, input, weights, bias, channel, output);
#endif
                for (; channel < shape->out_channels; channel++)
                    one_channel(shape, &at, input, weights, bias, channel, multiplier, output);
                output += shape->out_channels;
            }
        }
        input += rows->inputs * columns->inputs * shape->in_channels;
    }
}
