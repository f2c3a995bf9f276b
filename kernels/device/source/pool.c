#include "arithmetic.h"
#include "dsp.h"
#include "kernels.h"

/* The part of a window that lies on the image. */
struct window {
    const int8_t *first; /* its first pixel */
    int32_t rows;
    int32_t columns;
    int32_t row_bytes; /* of the image */
    int32_t channels;
};

/* Clips a window to [0, inputs): returns its length, and where it begins. */
static int32_t clipped(const struct mcusim_axis *axis, int32_t output, int32_t *first)
{
    int32_t origin = output * axis->stride - axis->padding;
    int32_t end = origin + axis->kernel;
    *first = origin < 0 ? 0 : origin;
    end = end > axis->inputs ? axis->inputs : end;
    return end > *first ? end - *first : 0;
}

static struct window window_at(const struct mcusim_pooling *shape, const int8_t *image, int32_t y,
                               int32_t x)
{
    int32_t row, column;
    struct window window;
    window.rows = clipped(&shape->rows, y, &row);
    window.columns = clipped(&shape->columns, x, &column);
    window.channels = shape->channels;
    window.row_bytes = shape->columns.inputs * shape->channels;
    window.first = image + row * window.row_bytes + column * shape->channels;
    return window;
}

static void largest(const struct window *window, int32_t low, int32_t high, int8_t *output)
{
    int32_t channel = 0;
#if MCUSIM_DSP
    for (; channel + 4 <= window->channels; channel += 4) {
        int32_t best = (int32_t)0x80808080;
        const int8_t *row = window->first + channel;
        for (int32_t down = 0; down < window->rows; down++, row += window->row_bytes) {
            const int8_t *at = row;
            for (int32_t across = 0; across < window->columns; across++, at += window->channels)
                best = larger_bytes(load_four(at), best);
        }
        for (int32_t i = 0; i < 4; i++)
            output[channel + i] = (int8_t)clamp((int8_t)(best >> 8 * i), low, high);
    }
#endif
    for (; channel < window->channels; channel++) {
        int32_t best = INT8_MIN;
        const int8_t *row = window->first + channel;
        for (int32_t down = 0; down < window->rows; down++, row += window->row_bytes) {
            const int8_t *at = row;
            for (int32_t across = 0; across < window->columns; across++, at += window->channels)
                best = *at > best ? *at : best;
        }
        output[channel] = (int8_t)clamp(best, low, high);
    }
}

/* The mean rounded to the nearest, ties away from zero. */
static int8_t mean(int32_t sum, int32_t count, int32_t low, int32_t high)
{
    int32_t rounded = sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
    return (int8_t)clamp(rounded, low, high);
}

static void average(const struct window *window, int32_t low, int32_t high, int8_t *output)
{
    int32_t count = window->rows * window->columns;
    int32_t channel = 0;
#if MCUSIM_DSP
    /* Halfwords hold the sums of so many values and no more. */
    for (; count <= 255 && channel + 4 <= window->channels; channel += 4) {
        int32_t even = 0, odd = 0;
        const int8_t *row = window->first + channel;
        for (int32_t down = 0; down < window->rows; down++, row += window->row_bytes) {
            const int8_t *at = row;
            for (int32_t across = 0; across < window->columns; across++, at += window->channels) {
                int32_t word = load_four(at);
                even = even_bytes(even, word);
                odd = odd_bytes(odd, word);
            }
        }
        output[channel] = mean((int16_t)even, count, low, high);
        output[channel + 1] = mean((int16_t)odd, count, low, high);
        output[channel + 2] = mean(even >> 16, count, low, high);
        output[channel + 3] = mean(odd >> 16, count, low, high);
    }
#endif
    for (; channel < window->channels; channel++) {
        int32_t sum = 0;
        const int8_t *row = window->first + channel;
        for (int32_t down = 0; down < window->rows; down++, row += window->row_bytes) {
            const int8_t *at = row;
            for (int32_t across = 0; across < window->columns; across++, at += window->channels)
                sum += *at;
        }
        output[channel] = mean(sum, count, low, high);
    }
}

typedef void pool(const struct window *window, int32_t low, int32_t high, int8_t *output);

static void every_window(const struct mcusim_pooling *shape, const int8_t *input, int8_t *output,
                         pool *reduce)
{
    for (int32_t batch = 0; batch < shape->batches; batch++) {
        for (int32_t y = 0; y < shape->rows.outputs; y++) {
            for (int32_t x = 0; x < shape->columns.outputs; x++) {
                struct window window = window_at(shape, input, y, x);
                reduce(&window, shape->low, shape->high, output);
                output += shape->channels;
            }
        }
        input += shape->rows.inputs * shape->columns.inputs * shape->channels;
    }
}

void mcusim_max_pool_s8(const struct mcusim_pooling *shape, const int8_t *input, int8_t *output)
{
    every_window(shape, input, output, largest);
}

void mcusim_average_pool_s8(const struct mcusim_pooling *shape, const int8_t *input, int8_t *output)
{
    every_window(shape, input, output, average);
}
