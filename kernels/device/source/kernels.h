/* int8 kernels of neural networks with TFLite Micro's arithmetic, bit for bit.
 *
 * Each file holds plain C and, for cores with DSP instructions, intrinsics out of arm_acle.h;
 * -DMCUSIM_PLAIN takes plain C everywhere. Every field is 32 bits wide, so that a host fills the
 * structures without asking the compiler. */
#ifndef MCUSIM_KERNELS_H
#define MCUSIM_KERNELS_H

#include <stdint.h>

/* Windows along the rows or the columns of an image. */
struct mcusim_axis {
    int32_t inputs;   /* extent of the input */
    int32_t outputs;  /* extent of the output */
    int32_t kernel;   /* extent of a window */
    int32_t stride;
    int32_t dilation; /* between taps; 1 in a pooling */
    int32_t padding;  /* before the input */
};

/* How sums of products become stored values. */
struct mcusim_scaling {
    int32_t input_offset;       /* added to every input: in [-127, 128] */
    int32_t filter_offset;      /* added to every weight: 0 unless dense */
    int32_t output_offset;      /* added to every result */
    int32_t low;                /* least stored value */
    int32_t high;               /* largest stored value */
    int32_t per_channel;        /* 1: a multiplier for each channel; 0: one for all */
    const int32_t *multipliers; /* Q31 */
    const int32_t *shifts;      /* positive to the left */
};

struct mcusim_convolution {
    int32_t batches;
    struct mcusim_axis rows;
    struct mcusim_axis columns;
    int32_t in_channels;
    int32_t kernel_channels; /* of a filter: fewer than in_channels in a grouped convolution */
    int32_t out_channels;
    struct mcusim_scaling scaling;
};

struct mcusim_dense {
    int32_t batches;
    int32_t depth;
    int32_t outputs;
    struct mcusim_scaling scaling;
};

struct mcusim_pooling {
    int32_t batches;
    struct mcusim_axis rows;
    struct mcusim_axis columns;
    int32_t channels;
    int32_t low;
    int32_t high;
};

/* A sum of two tensors of one shape, at a common scale with 20 bits to spare. */
struct mcusim_addition {
    int32_t elements;
    int32_t offsets[2];     /* added to the inputs */
    int32_t multipliers[2]; /* of the inputs */
    int32_t shifts[2];
    int32_t output_multiplier;
    int32_t output_shift;
    int32_t output_offset;
    int32_t low;
    int32_t high;
};

struct mcusim_softmax {
    int32_t rows;
    int32_t depth;
    int32_t multiplier;       /* of differences to the largest input, to Q5.26 */
    int32_t left_shift;
    int32_t least_difference; /* what is further below the largest counts as zero */
};

/* Images are (batch, row, column, channel); a bias may be null.
 *
 * The filter is (out channel, row, column, kernel channel). `column` lies at a multiple of four and
 * holds five times what rows.kernel * columns.kernel * kernel_channels, rounded up to a multiple of
 * four, comes to. */
void mcusim_convolve_s8(const struct mcusim_convolution *shape, const int8_t *input,
                        const int8_t *weights, const int32_t *bias, int8_t *column,
                        int8_t *output);

/* The filter is (row, column, out channel); out_channels is a multiple of in_channels. */
void mcusim_depthwise_s8(const struct mcusim_convolution *shape, const int8_t *input,
                         const int8_t *weights, const int32_t *bias, int8_t *output);

/* The weights are (output, depth). */
void mcusim_dense_s8(const struct mcusim_dense *shape, const int8_t *input, const int8_t *weights,
                     const int32_t *bias, int8_t *output);

/* One row of inputs with every row of weights: what dense layers and convolutions share. */
void mcusim_row_s8(const struct mcusim_scaling *scaling, int32_t depth, int32_t channels,
                   const int8_t *input, const int8_t *weights, const int32_t *bias,
                   int8_t *output);

/* The same for two pixels at once, on cores with DSP instructions: inputs are widened to halfwords
 * with their offset, of every four the even ones and then the odd ones; weights have no offset. */
void mcusim_widen_s8(int32_t offset, int32_t depth, const int8_t *input, int32_t *to);
void mcusim_two_pixels_s8(const struct mcusim_scaling *scaling, int32_t depth, int32_t channels,
                          const int32_t *x, const int32_t *y, const int8_t *weights,
                          const int32_t *bias, int8_t *first, int8_t *second);

void mcusim_max_pool_s8(const struct mcusim_pooling *shape, const int8_t *input, int8_t *output);
void mcusim_average_pool_s8(const struct mcusim_pooling *shape, const int8_t *input,
                            int8_t *output);
void mcusim_add_s8(const struct mcusim_addition *shape, const int8_t *first, const int8_t *second,
                   int8_t *output);
void mcusim_softmax_s8(const struct mcusim_softmax *shape, const int8_t *input, int8_t *output);

#endif
