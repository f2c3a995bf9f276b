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

/* The taps of an output pixel that lie on the image. */
struct window {
    const int8_t *inputs;  /* under the first */
    const int8_t *weights; /* of the first */
    int32_t rows;
    int32_t columns;
    int32_t input_row; /* bytes from row to row, and from column to column */
    int32_t input_column;
    int32_t weight_row;
    int32_t weight_column;
};

static struct window window_at(const struct mcusim_convolution *shape, const int8_t *image,
                               const int8_t *weights, int32_t y, int32_t x)
{
    const struct mcusim_axis *rows = &shape->rows, *columns = &shape->columns;
    struct span down = taps_inside(rows, y), across = taps_inside(columns, x);
    int32_t row = y * rows->stride - rows->padding + down.first * rows->dilation;
    int32_t column = x * columns->stride - columns->padding + across.first * columns->dilation;
    struct window window;
    window.rows = down.end - down.first;
    window.columns = across.end - across.first;
    window.input_row = rows->dilation * columns->inputs * shape->in_channels;
    window.input_column = columns->dilation * shape->in_channels;
    window.weight_row = columns->kernel * shape->out_channels;
    window.weight_column = shape->out_channels;
    window.inputs = image + (row * columns->inputs + column) * shape->in_channels;
    window.weights = weights + down.first * window.weight_row + across.first * window.weight_column;
    return window;
}

#if MCUSIM_DSP
/* Four channels that have one filter each. */
static void four_channels(const struct mcusim_scaling *scaling, const struct window *at,
                          const int32_t *bias, int32_t channel, int8_t *output)
{
    int32_t offset = in_both(scaling->input_offset);
    const int8_t *input_row = at->inputs + channel, *weight_row = at->weights + channel;
    int32_t a = 0, b = 0, c = 0, d = 0;
    if (bias) {
        a = bias[channel];
        b = bias[channel + 1];
        c = bias[channel + 2];
        d = bias[channel + 3];
    }
    for (int32_t down = at->rows; down; down--) {
        const int8_t *input = input_row, *weight = weight_row;
        for (int32_t across = at->columns; across; across--) {
            int32_t inputs = load_four(input), factors = load_four(weight);
            int32_t even = even_bytes(offset, inputs), odd = odd_bytes(offset, inputs);
            int32_t even_factors = even_bytes(0, factors), odd_factors = odd_bytes(0, factors);
            a = __smlabb(even, even_factors, a);
            b = __smlabb(odd, odd_factors, b);
            c = __smlatt(even, even_factors, c);
            d = __smlatt(odd, odd_factors, d);
            input += at->input_column;
            weight += at->weight_column;
        }
        input_row += at->input_row;
        weight_row += at->weight_row;
    }
    output[channel] = stored(scaling, channel, (uint32_t)a);
    output[channel + 1] = stored(scaling, channel + 1, (uint32_t)b);
    output[channel + 2] = stored(scaling, channel + 2, (uint32_t)c);
    output[channel + 3] = stored(scaling, channel + 3, (uint32_t)d);
}
#endif

/* `from` is the input channel. */
static void one_channel(const struct mcusim_scaling *scaling, const struct window *at,
                        const int32_t *bias, int32_t from, int32_t channel, int8_t *output)
{
    const int8_t *input_row = at->inputs + from, *weight_row = at->weights + channel;
    uint32_t sum = bias ? (uint32_t)bias[channel] : 0;
    for (int32_t down = at->rows; down; down--) {
        const int8_t *input = input_row, *weight = weight_row;
        for (int32_t across = at->columns; across; across--) {
            sum += (uint32_t)((*input + scaling->input_offset) * *weight);
            input += at->input_column;
            weight += at->weight_column;
        }
        input_row += at->input_row;
        weight_row += at->weight_row;
    }
    output[channel] = stored(scaling, channel, sum);
}

static void every_channel(const struct mcusim_convolution *shape, const struct window *at,
                          const int32_t *bias, int8_t *output)
{
    int32_t multiplier = shape->out_channels / shape->in_channels;
    int32_t channel = 0, from = 0;
#if MCUSIM_DSP
    if (multiplier == 1)
        for (; channel + 4 <= shape->out_channels; channel += 4)
            four_channels(&shape->scaling, at, bias, channel, output);
    from = channel;
#endif
    for (; channel < shape->out_channels; from++)
        for (int32_t end = channel + multiplier; channel < end; channel++)
            one_channel(&shape->scaling, at, bias, from, channel, output);
}

void mcusim_depthwise_s8(const struct mcusim_convolution *shape, const int8_t *input,
                         const int8_t *weights, const int32_t *bias, int8_t *output)
{
    const struct mcusim_axis *rows = &shape->rows, *columns = &shape->columns;
    for (int32_t batch = 0; batch < shape->batches; batch++) {
        for (int32_t y = 0; y < rows->outputs; y++) {
            for (int32_t x = 0; x < columns->outputs; x++) {
                struct window at = window_at(shape, input, weights, y, x);
                every_channel(shape, &at, bias, output);
                output += shape->out_channels;
            }
        }
        input += rows->inputs * columns->inputs * shape->in_channels;
    }
}
