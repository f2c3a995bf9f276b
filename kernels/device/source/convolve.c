#include "dsp.h"
#include "kernels.h"

/* Whether a window is one pixel and its own column. */
static int32_t is_pointwise(const struct mcusim_convolution *shape)
{
    return shape->rows.kernel == 1 && shape->columns.kernel == 1 && shape->rows.padding == 0 &&
           shape->columns.padding == 0;
}

/* The inputs under a window, one after the other; beside the image, what counts as zero. */
static void gather(const struct mcusim_convolution *shape, const int8_t *image, int32_t row,
                   int32_t column, int8_t *to)
{
    const struct mcusim_axis *rows = &shape->rows, *columns = &shape->columns;
    int32_t depth = shape->kernel_channels;
    for (int32_t down = 0; down < rows->kernel; down++, row += rows->dilation) {
        int32_t at = column;
        for (int32_t across = 0; across < columns->kernel; across++, at += columns->dilation) {
            if (row >= 0 && row < rows->inputs && at >= 0 && at < columns->inputs)
                __builtin_memcpy(to, image + (row * columns->inputs + at) * shape->in_channels,
                                 (uint32_t)depth);
            else
                __builtin_memset(to, -shape->scaling.input_offset, (uint32_t)depth);
            to += depth;
        }
    }
}

/* The column of an output pixel: within the image, or gathered into a buffer. */
static const int8_t *column_of(const struct mcusim_convolution *shape, const int8_t *image,
                               int32_t y, int32_t x, int8_t *buffer)
{
    int32_t row = y * shape->rows.stride - shape->rows.padding;
    int32_t column = x * shape->columns.stride - shape->columns.padding;
    if (is_pointwise(shape))
        return image + (row * shape->columns.inputs + column) * shape->in_channels;
    gather(shape, image, row, column, buffer);
    return buffer;
}

/* A group of channels: its scaling, weights and bias. */
struct group {
    struct mcusim_scaling scaling;
    int32_t depth;
    int32_t channels;
    const int8_t *weights;
    const int32_t *bias;
};

/* The group's channels of every pixel of an image. */
static void convolve_group(const struct mcusim_convolution *shape, const struct group *group,
                           const int8_t *image, int8_t *buffer, int8_t *output)
{
#if MCUSIM_DSP
    /* Two columns, widened, and behind them the one that is gathered. */
    int32_t words = (group->depth + 3) / 4 * 2;
    int32_t *wide = (int32_t *)(void *)buffer;
    int32_t odd = 0;
    buffer += 8 * words;
#endif
    for (int32_t y = 0; y < shape->rows.outputs; y++) {
        for (int32_t x = 0; x < shape->columns.outputs; x++, output += shape->out_channels) {
            const int8_t *inputs = column_of(shape, image, y, x, buffer);
#if MCUSIM_DSP
            int32_t is_last = y + 1 == shape->rows.outputs && x + 1 == shape->columns.outputs;
            mcusim_widen_s8(group->scaling.input_offset, group->depth, inputs, wide + odd * words);
            odd = !odd;
            if (!odd)
                mcusim_two_pixels_s8(&group->scaling, group->depth, group->channels, wide,
                                     wide + words, group->weights, group->bias,
                                     output - shape->out_channels, output);
            if (!odd || !is_last)
                continue;
#endif
            mcusim_row_s8(&group->scaling, group->depth, group->channels, inputs, group->weights,
                          group->bias, output);
        }
    }
}

void mcusim_convolve_s8(const struct mcusim_convolution *shape, const int8_t *input,
                        const int8_t *weights, const int32_t *bias, int8_t *column, int8_t *output)
{
    const struct mcusim_axis *rows = &shape->rows, *columns = &shape->columns;
    int32_t groups = shape->in_channels / shape->kernel_channels;
    struct group group;
    group.channels = shape->out_channels / groups;
    group.depth = rows->kernel * columns->kernel * shape->kernel_channels;
    for (int32_t batch = 0; batch < shape->batches; batch++) {
        for (int32_t number = 0; number < groups; number++) {
            int32_t first = number * group.channels;
            group.scaling = shape->scaling;
            if (shape->scaling.per_channel) {
                group.scaling.multipliers += first;
                group.scaling.shifts += first;
            }
            group.weights = weights + first * group.depth;
            group.bias = bias ? bias + first : bias;
            convolve_group(shape, &group, input + number * shape->kernel_channels, column,
                           output + first);
        }
        input += rows->inputs * columns->inputs * shape->in_channels;
        output += rows->outputs * columns->outputs * shape->out_channels;
    }
}
