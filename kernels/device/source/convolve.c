#include "kernels.h"

/* Whether a window is one pixel and its own column. */
int32_t mcusim_is_pointwise(const struct mcusim_convolution *shape)
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

/* One group of channels of one output pixel; scaling and bias are of the group's channels. */
static void convolve_group(const struct mcusim_convolution *shape,
                           const struct mcusim_scaling *scaling, int32_t channels,
                           const int8_t *image, int32_t row, int32_t column, const int8_t *weights,
                           const int32_t *bias, int8_t *buffer, int8_t *output)
{
    int32_t depth = shape->rows.kernel * shape->columns.kernel * shape->kernel_channels;
    const int8_t *inputs = buffer;
    if (mcusim_is_pointwise(shape))
        inputs = image + (row * shape->columns.inputs + column) * shape->in_channels;
    else
        gather(shape, image, row, column, buffer);
    mcusim_row_s8(scaling, depth, channels, inputs, weights, bias, output);
}

void mcusim_convolve_s8(const struct mcusim_convolution *shape, const int8_t *input,
                        const int8_t *weights, const int32_t *bias, int8_t *column, int8_t *output)
{
    const struct mcusim_axis *rows = &shape->rows, *columns = &shape->columns;
    int32_t groups = shape->in_channels / shape->kernel_channels;
    int32_t channels = shape->out_channels / groups;
    int32_t filter = rows->kernel * columns->kernel * shape->kernel_channels;
    for (int32_t batch = 0; batch < shape->batches; batch++) {
        for (int32_t y = 0; y < rows->outputs; y++) {
            for (int32_t x = 0; x < columns->outputs; x++) {
                for (int32_t group = 0; group < groups; group++) {
                    int32_t first = group * channels;
                    struct mcusim_scaling scaling = shape->scaling;
                    if (scaling.per_channel) {
                        scaling.multipliers += first;
                        scaling.shifts += first;
                    }
                    convolve_group(shape, &scaling, channels,
                                   input + group * shape->kernel_channels,
                                   y * rows->stride - rows->padding,
                                   x * columns->stride - columns->padding,
                                   weights + first * filter, bias ? bias + first : bias, column,
                                   output + first);
                }
                output += shape->out_channels;
            }
        }
        input += rows->inputs * columns->inputs * shape->in_channels;
    }
}
