/* A few of CMSIS-NN's functions, written for these tests by their declarations alone, with an error
 * each on request: -DERROR=... */
#include <stddef.h>
#include <stdint.h>

#define NONE 0
#define ROUNDS_DOWN 1
#define ROUNDS_ONCE 2
#define SWAPS_OFFSETS 3
#define LEAVES_LAST 4
#define WRITES_MORE 5
#define SWAPS_STRIDES 6
#define CHANGES_INPUT 7
#define OTHER_ARGUMENTS 8
#define REFUSES 9
#define CRASHES 10

struct tile { int32_t w, h; };
struct dims { int32_t n, h, w, c; };
struct context { void *buffer; int32_t size; };
struct pooling { struct tile stride, padding; int32_t low, high; };

static int32_t scaled(int32_t value, int32_t multiplier, int32_t shift)
{
    int32_t right = shift > 0 ? 0 : -shift;
    int64_t product = ((int64_t)value << (shift > 0 ? shift : 0)) * multiplier;
#if ERROR == ROUNDS_ONCE
    right += 31;
    return (int32_t)((product + ((int64_t)1 << (right - 1))) >> right);
#else
    int32_t high = (int32_t)((product + (product < 0 ? 1 - (1 << 30) : 1 << 30)) / ((int64_t)1 << 31));
#if ERROR == ROUNDS_DOWN
    return high >> right;
#else
    int32_t mask = (int32_t)(((int64_t)1 << right) - 1);
    return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0));
#endif
#endif
}

static int8_t clamped(int32_t value, int32_t low, int32_t high)
{
    return (int8_t)(value < low ? low : value > high ? high : value);
}

int32_t arm_elementwise_mul_s8(const int8_t *input_1_vect, const int8_t *input_2_vect,
                               int32_t input_1_offset, int32_t input_2_offset, int8_t *output,
                               int32_t out_offset, int32_t out_mult, int32_t out_shift,
                               int32_t out_activation_min, int32_t out_activation_max,
                               int32_t block_size)
{
#if ERROR == REFUSES
    return -1;
#endif
#if ERROR == SWAPS_OFFSETS
    int32_t other = input_1_offset;
    input_1_offset = input_2_offset;
    input_2_offset = other;
#endif
#if ERROR == LEAVES_LAST
    block_size -= block_size % 4 == 3;
#endif
#if ERROR == WRITES_MORE
    block_size += block_size % 4 == 3;
#endif
#if ERROR == CHANGES_INPUT
    ((int8_t *)(uintptr_t)input_1_vect)[0] ^= 1;
#endif
#if ERROR == CRASHES
    *(volatile int32_t *)0xF0000000 = 1;
#endif
    for (int32_t i = 0; i < block_size; i++) {
        int32_t product = (input_1_vect[i] + input_1_offset) * (input_2_vect[i] + input_2_offset);
        output[i] = clamped(scaled(product, out_mult, out_shift) + out_offset, out_activation_min,
                            out_activation_max);
    }
    return 0;
}

#if ERROR == OTHER_ARGUMENTS
int32_t arm_max_pool_s8(int32_t rows, int32_t columns, const int8_t *input, int8_t *output)
{
    (void)input;
    output[0] = (int8_t)(rows + columns);
    return 0;
}
#else
int32_t arm_max_pool_s8(const struct context *ctx, const struct pooling *pool_params,
                        const struct dims *input_dims, const int8_t *input_data,
                        const struct dims *filter_dims, const struct dims *output_dims,
                        int8_t *output_data)
{
    (void)ctx;
    int32_t step_y = pool_params->stride.h, step_x = pool_params->stride.w;
#if ERROR == SWAPS_STRIDES
    step_y = pool_params->stride.w, step_x = pool_params->stride.h;
#endif
    for (int32_t n = 0; n < input_dims->n; n++)
        for (int32_t y = 0; y < output_dims->h; y++)
            for (int32_t x = 0; x < output_dims->w; x++)
                for (int32_t c = 0; c < input_dims->c; c++) {
                    int32_t most = -128;
                    for (int32_t i = 0; i < filter_dims->h; i++)
                        for (int32_t j = 0; j < filter_dims->w; j++) {
                            int32_t row = y * step_y - pool_params->padding.h + i;
                            int32_t column = x * step_x - pool_params->padding.w + j;
                            if (row < 0 || row >= input_dims->h || column < 0
                                || column >= input_dims->w)
                                continue;
                            int32_t at = ((n * input_dims->h + row) * input_dims->w + column)
                                             * input_dims->c + c;
                            if (input_data[at] > most)
                                most = input_data[at];
                        }
                    *output_data++ = clamped(most, pool_params->low, pool_params->high);
                }
    return 0;
}
#endif

void reset_handler(void) {}
