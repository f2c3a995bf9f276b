#include "dnnruntime.h"

#include <math.h>
#include <string.h>

#ifdef __ARM_FEATURE_DSP
#include <arm_acle.h>

/* What CMSIS has macros for, and ACLE no intrinsics. */
static inline uint32_t bytes_0_2(uint32_t x) {
  uint32_t y;
  __asm("uxtb16 %0, %1" : "=r"(y) : "r"(x));
  return y;
}

static inline uint32_t bytes_1_3(uint32_t x) {
  uint32_t y;
  __asm("uxtb16 %0, %1, ror #8" : "=r"(y) : "r"(x));
  return y;
}

static inline uint32_t low_halves(uint32_t low, uint32_t high) {
  uint32_t y;
  __asm("pkhbt %0, %1, %2, lsl #16" : "=r"(y) : "r"(low), "r"(high));
  return y;
}

static inline uint32_t high_halves(uint32_t low, uint32_t high) {
  uint32_t y;
  __asm("pkhtb %0, %1, %2, asr #16" : "=r"(y) : "r"(high), "r"(low));
  return y;
}
#endif

/* Clamped before it is rounded, half to even, as ONNX's QuantizeLinear rounds. */
static inline uint8_t to_u8(float value, const dnn_requantize *q) {
  const float least = (float)(q->least - q->zero_point);
  const float most = (float)(q->most - q->zero_point);
  if (value < least) value = least;
  if (value > most) value = most;
  value += 12582912.0f; /* 1.5 * 2**23: an integer is left in the low bits */
  int32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return (uint8_t)(bits - 0x4b400000 + q->zero_point);
}

void dnn_im2col_u8(const uint8_t *x, const dnn_window *w, int32_t row, int32_t col, int32_t zero,
                   dnn_column *column) {
  const int32_t top = row * w->stride_h - w->pad_top;
  const int32_t left = col * w->stride_w - w->pad_left;
  for (int32_t c = 0; c < w->channels; ++c) {
    for (int32_t ky = 0; ky < w->kernel_h; ++ky) {
      const int32_t y = top + ky;
      for (int32_t kx = 0; kx < w->kernel_w; ++kx) {
        const int32_t at = left + kx;
        int32_t value = zero;
        if (y >= 0 && y < w->height && at >= 0 && at < w->width) {
          value = x[(c * w->height + y) * w->width + at];
        }
#ifdef __ARM_FEATURE_DSP
        value -= zero;
#endif
        *column++ = (dnn_column)value;
      }
    }
  }
}

void dnn_im2col_f32(const float *x, const dnn_window *w, int32_t row, int32_t col, float *column) {
  const int32_t top = row * w->stride_h - w->pad_top;
  const int32_t left = col * w->stride_w - w->pad_left;
  for (int32_t c = 0; c < w->channels; ++c) {
    for (int32_t ky = 0; ky < w->kernel_h; ++ky) {
      const int32_t y = top + ky;
      for (int32_t kx = 0; kx < w->kernel_w; ++kx) {
        const int32_t at = left + kx;
        float value = 0.0f;
        if (y >= 0 && y < w->height && at >= 0 && at < w->width) {
          value = x[(c * w->height + y) * w->width + at];
        }
        *column++ = value;
      }
    }
  }
}

void dnn_widen(const uint8_t *x, int32_t n, int32_t zero, dnn_column *column) {
  for (int32_t i = 0; i < n; ++i) column[i] = (dnn_column)(x[i] - zero);
}

void dnn_matvec_u8(const uint8_t *weights, const dnn_column *column, const int32_t *bias,
                   int32_t rows, int32_t columns, int32_t weight_zero, int32_t column_zero,
                   const dnn_requantize *q, uint8_t *y, int32_t y_stride) {
#ifdef __ARM_FEATURE_DSP
  const uint32_t zero_pair = (uint32_t)weight_zero * 0x00010001u;
#endif
  for (int32_t row = 0; row < rows; ++row) {
    int32_t sum = bias[row];
    int32_t k = 0;
#ifdef __ARM_FEATURE_DSP
    for (; k + 4 <= columns; k += 4) {
      uint32_t quad, low, high;
      memcpy(&quad, weights, 4);
      memcpy(&low, column + k, 4);
      memcpy(&high, column + k + 2, 4);
      weights += 4;
      const int16x2_t even = __ssub16((int16x2_t)bytes_0_2(quad), (int16x2_t)zero_pair);
      const int16x2_t odd = __ssub16((int16x2_t)bytes_1_3(quad), (int16x2_t)zero_pair);
      sum = __smlad(even, (int16x2_t)low_halves(low, high), sum);
      sum = __smlad(odd, (int16x2_t)high_halves(low, high), sum);
    }
    for (; k < columns; ++k) sum += (*weights++ - weight_zero) * column[k];
#else
    for (; k < columns; ++k) sum += (*weights++ - weight_zero) * (column[k] - column_zero);
#endif
    y[row * y_stride] = to_u8((float)sum * q->scales[row], q);
  }
  (void)column_zero;
}

void dnn_matvec_f32(const float *weights, const float *column, const float *bias, int32_t rows,
                    int32_t columns, float *y, int32_t y_stride) {
  for (int32_t row = 0; row < rows; ++row) {
    float sum = bias[row];
    for (int32_t k = 0; k < columns; ++k) sum += *weights++ * column[k];
    y[row * y_stride] = sum;
  }
}

void dnn_crs_matvec_u8(const dnn_crs *weights, const dnn_column *column, const int32_t *bias,
                       int32_t rows, int32_t weight_zero, int32_t column_zero,
                       const dnn_requantize *q, uint8_t *y, int32_t y_stride) {
  const uint8_t *values = weights->values;
  for (int32_t row = 0; row < rows; ++row) {
    int32_t sum = bias[row];
    const uint32_t end = weights->row_starts[row + 1];
    for (uint32_t k = weights->row_starts[row]; k < end; ++k) {
      int32_t x = column[weights->columns[k]];
#ifndef __ARM_FEATURE_DSP
      x -= column_zero;
#endif
      sum += (values[k] - weight_zero) * x;
    }
    y[row * y_stride] = to_u8((float)sum * q->scales[row], q);
  }
  (void)column_zero;
}

void dnn_crs_matvec_f32(const dnn_crs *weights, const float *column, const float *bias,
                        int32_t rows, float *y, int32_t y_stride) {
  const float *values = weights->values;
  for (int32_t row = 0; row < rows; ++row) {
    float sum = bias[row];
    const uint32_t end = weights->row_starts[row + 1];
    for (uint32_t k = weights->row_starts[row]; k < end; ++k) {
      sum += values[k] * column[weights->columns[k]];
    }
    y[row * y_stride] = sum;
  }
}

/* Taps of a pooling window that lie inside the image. */
typedef struct {
  int32_t top, bottom, left, right;
} taps;

static inline taps inside(const dnn_window *w, int32_t row, int32_t col) {
  taps t;
  t.top = row * w->stride_h - w->pad_top;
  t.bottom = t.top + w->kernel_h;
  t.left = col * w->stride_w - w->pad_left;
  t.right = t.left + w->kernel_w;
  if (t.top < 0) t.top = 0;
  if (t.left < 0) t.left = 0;
  if (t.bottom > w->height) t.bottom = w->height;
  if (t.right > w->width) t.right = w->width;
  return t;
}

void dnn_max_pool_u8(const uint8_t *x, const dnn_window *w, uint8_t *y) {
  for (int32_t c = 0; c < w->channels; ++c, x += w->height * w->width) {
    for (int32_t row = 0; row < w->out_h; ++row) {
      for (int32_t col = 0; col < w->out_w; ++col) {
        const taps t = inside(w, row, col);
        uint8_t most = 0;
        for (int32_t i = t.top; i < t.bottom; ++i) {
          for (int32_t j = t.left; j < t.right; ++j) {
            const uint8_t value = x[i * w->width + j];
            if (value > most) most = value;
          }
        }
        *y++ = most;
      }
    }
  }
}

void dnn_max_pool_f32(const float *x, const dnn_window *w, float *y) {
  for (int32_t c = 0; c < w->channels; ++c, x += w->height * w->width) {
    for (int32_t row = 0; row < w->out_h; ++row) {
      for (int32_t col = 0; col < w->out_w; ++col) {
        const taps t = inside(w, row, col);
        float most = -INFINITY;
        for (int32_t i = t.top; i < t.bottom; ++i) {
          for (int32_t j = t.left; j < t.right; ++j) {
            const float value = x[i * w->width + j];
            if (value > most) most = value;
          }
        }
        *y++ = most;
      }
    }
  }
}

void dnn_average_pool_u8(const uint8_t *x, const dnn_window *w, int32_t zero, float scale,
                         const dnn_requantize *q, uint8_t *y) {
  for (int32_t c = 0; c < w->channels; ++c, x += w->height * w->width) {
    for (int32_t row = 0; row < w->out_h; ++row) {
      for (int32_t col = 0; col < w->out_w; ++col) {
        const taps t = inside(w, row, col);
        const int32_t count = (t.bottom - t.top) * (t.right - t.left);
        int32_t sum = -zero * count;
        for (int32_t i = t.top; i < t.bottom; ++i) {
          for (int32_t j = t.left; j < t.right; ++j) sum += x[i * w->width + j];
        }
        *y++ = to_u8((float)sum * (scale / (float)count), q);
      }
    }
  }
}

void dnn_average_pool_f32(const float *x, const dnn_window *w, float *y) {
  for (int32_t c = 0; c < w->channels; ++c, x += w->height * w->width) {
    for (int32_t row = 0; row < w->out_h; ++row) {
      for (int32_t col = 0; col < w->out_w; ++col) {
        const taps t = inside(w, row, col);
        float sum = 0.0f;
        for (int32_t i = t.top; i < t.bottom; ++i) {
          for (int32_t j = t.left; j < t.right; ++j) sum += x[i * w->width + j];
        }
        *y++ = sum / (float)((t.bottom - t.top) * (t.right - t.left));
      }
    }
  }
}

void dnn_relu_u8(const uint8_t *x, int32_t n, uint8_t zero, uint8_t *y) {
  for (int32_t i = 0; i < n; ++i) y[i] = x[i] > zero ? x[i] : zero;
}

void dnn_relu_f32(const float *x, int32_t n, float *y) {
  for (int32_t i = 0; i < n; ++i) y[i] = x[i] > 0.0f ? x[i] : 0.0f;
}

void dnn_add_u8(const uint8_t *a, const uint8_t *b, int32_t n, int32_t a_zero, int32_t b_zero,
                float a_scale, float b_scale, const dnn_requantize *q, uint8_t *y) {
  for (int32_t i = 0; i < n; ++i) {
    const float sum = (float)(a[i] - a_zero) * a_scale + (float)(b[i] - b_zero) * b_scale;
    y[i] = to_u8(sum, q);
  }
}

void dnn_add_f32(const float *a, const float *b, int32_t n, float *y) {
  for (int32_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
}

void dnn_softmax_f32(const float *x, int32_t n, float *y) {
  float most = x[0];
  for (int32_t i = 1; i < n; ++i) {
    if (x[i] > most) most = x[i];
  }
  float sum = 0.0f;
  for (int32_t i = 0; i < n; ++i) {
    y[i] = expf(x[i] - most);
    sum += y[i];
  }
  for (int32_t i = 0; i < n; ++i) y[i] /= sum;
}

/* The result has the scale 1/256 and the zero point 0. */
void dnn_softmax_u8(const uint8_t *x, int32_t n, float scale, float *scratch, uint8_t *y) {
  static const dnn_requantize probabilities = {0, 0, 0, 255};
  for (int32_t i = 0; i < n; ++i) scratch[i] = (float)x[i] * scale;
  dnn_softmax_f32(scratch, n, scratch);
  for (int32_t i = 0; i < n; ++i) y[i] = to_u8(scratch[i] * 256.0f, &probabilities);
}

void dnn_quantize(const float *x, int32_t n, const dnn_requantize *q, uint8_t *y) {
  for (int32_t i = 0; i < n; ++i) y[i] = to_u8(x[i] / q->scales[0], q);
}

void dnn_dequantize(const uint8_t *x, int32_t n, float scale, int32_t zero, float *y) {
  for (int32_t i = 0; i < n; ++i) y[i] = (float)(x[i] - zero) * scale;
}
