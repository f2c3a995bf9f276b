/* Device kernels of a runtime after Deutel et al., "Energy-efficient Deployment of Deep Learning
 * Applications on Cortex-M based Microcontrollers using Deep Compression" (MBMV 2023), section 4:
 * convolutions as im2col and matrix-vector products, weights dense or in compressed row storage,
 * uint8 affine or float. The paper's own library is not public; what it leaves open is marked.
 * Images are channels first, as in ONNX.
 */
#ifndef MCUSIM_DNNRUNTIME_H
#define MCUSIM_DNNRUNTIME_H

#include <stdint.h>

/* A window over an image of (channels, height, width); dilation is not offered. */
typedef struct {
  int32_t channels, height, width;
  int32_t kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left;
  int32_t out_h, out_w;
} dnn_window;

/* What makes an accumulator a uint8: one scale a row, s_x * s_w / s_y. */
typedef struct {
  const float *scales;
  int32_t zero_point, least, most;
} dnn_requantize;

/* A matrix in compressed row storage; its values are uint8 or float. */
typedef struct {
  const void *values;
  const uint16_t *columns;
  const uint32_t *row_starts;
} dnn_crs;

#ifdef __ARM_FEATURE_DSP
typedef int16_t dnn_column; /* two products an instruction */
#else
typedef uint8_t dnn_column;
#endif

void dnn_im2col_u8(const uint8_t *x, const dnn_window *w, int32_t row, int32_t col, int32_t zero,
                   dnn_column *column);
/* A vector as a column, for a dense layer; where columns are uint8 it is one already. */
void dnn_widen(const uint8_t *x, int32_t n, int32_t zero, dnn_column *column);
void dnn_im2col_f32(const float *x, const dnn_window *w, int32_t row, int32_t col, float *column);
void dnn_matvec_u8(const uint8_t *weights, const dnn_column *column, const int32_t *bias,
                   int32_t rows, int32_t columns, int32_t weight_zero, int32_t column_zero,
                   const dnn_requantize *q, uint8_t *y, int32_t y_stride);
void dnn_matvec_f32(const float *weights, const float *column, const float *bias, int32_t rows,
                    int32_t columns, float *y, int32_t y_stride);
void dnn_crs_matvec_u8(const dnn_crs *weights, const dnn_column *column, const int32_t *bias,
                       int32_t rows, int32_t weight_zero, int32_t column_zero,
                       const dnn_requantize *q, uint8_t *y, int32_t y_stride);
void dnn_crs_matvec_f32(const dnn_crs *weights, const float *column, const float *bias,
                        int32_t rows, float *y, int32_t y_stride);
void dnn_max_pool_u8(const uint8_t *x, const dnn_window *w, uint8_t *y);
void dnn_max_pool_f32(const float *x, const dnn_window *w, float *y);
void dnn_average_pool_u8(const uint8_t *x, const dnn_window *w, int32_t zero, float scale,
                         const dnn_requantize *q, uint8_t *y);
void dnn_average_pool_f32(const float *x, const dnn_window *w, float *y);
void dnn_relu_u8(const uint8_t *x, int32_t n, uint8_t zero, uint8_t *y);
void dnn_relu_f32(const float *x, int32_t n, float *y);
void dnn_add_u8(const uint8_t *a, const uint8_t *b, int32_t n, int32_t a_zero, int32_t b_zero,
                float a_scale, float b_scale, const dnn_requantize *q, uint8_t *y);
void dnn_add_f32(const float *a, const float *b, int32_t n, float *y);
void dnn_softmax_u8(const uint8_t *x, int32_t n, float scale, float *scratch, uint8_t *y);
void dnn_softmax_f32(const float *x, int32_t n, float *y);
void dnn_quantize(const float *x, int32_t n, const dnn_requantize *q, uint8_t *y);
void dnn_dequantize(const uint8_t *x, int32_t n, float scale, int32_t zero, float *y);

#endif
