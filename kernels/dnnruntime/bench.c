/* Firmware whose executed instructions are counted: one kernel, on data made here, between
 * `count_begin` and `count_end`. The host writes the parameters to `parameters` and runs `entry`.
 */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "dnnruntime.h"

#define BYTES (1 << 18)

volatile int32_t parameters[24];
static uint8_t x[BYTES], weights[BYTES], y[BYTES];
static dnn_column column[1 << 13];
static float fx[BYTES / 4], fw[BYTES / 4], fy[BYTES / 4], fcolumn[1 << 13], scales[1 << 13];
static float fbias[1 << 13];
static int32_t bias[1 << 13];
static uint16_t columns[BYTES];
static uint32_t starts[1 << 13];

void __attribute__((noinline)) count_begin(void) { __asm volatile("" ::: "memory"); }
void __attribute__((noinline)) count_end(void) { __asm volatile("" ::: "memory"); }

static uint32_t state = 1;

static uint32_t next(void) {
  state = state * 1664525u + 1013904223u;
  return state >> 16;
}

static float next_float(void) { return (float)(int32_t)(next() & 0xffff) / 32768.0f - 1.0f; }

static void make_data(int32_t size, int32_t rows, int32_t sparsity) {
  uint32_t stored = 0;
  state = (uint32_t)parameters[20];
  for (int32_t i = 0; i < BYTES; ++i) x[i] = (uint8_t)next();
  for (int32_t i = 0; i < BYTES / 4; ++i) fx[i] = next_float();
  for (int32_t r = 0; r < rows; ++r) {
    starts[r] = stored;
    for (int32_t k = 0; k < size; ++k) {
      weights[r * size + k] = (uint8_t)next();
      fw[r * size + k] = next_float();
      if (sparsity && (int32_t)(next() % 1000) >= sparsity) columns[stored++] = (uint16_t)k;
    }
    bias[r] = (int32_t)(next() & 0x3ff) - 512;
    fbias[r] = next_float();
    scales[r] = 1.0f / (60.0f * sqrtf((float)size));
  }
  starts[rows] = stored;
}

int entry(void) {
  const volatile int32_t *p = parameters;
  const dnn_window w = {p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11]};
  const dnn_requantize q = {scales, 128, 0, 255};
  const int32_t rows = p[12], size = p[13], pixels = w.out_h * w.out_w;
  const dnn_crs crs = {weights, columns, starts};
  const dnn_crs fcrs = {fw, columns, starts};
  make_data(size, rows, p[14]);
  for (int32_t i = 0; i < size; ++i) {
    column[i] = (dnn_column)x[i];
    fcolumn[i] = fx[i];
  }
  count_begin();
  switch (p[0]) {
    case 0:
      for (int32_t i = 0; i < w.out_h; ++i)
        for (int32_t j = 0; j < w.out_w; ++j) dnn_im2col_u8(x, &w, i, j, 128, column);
      break;
    case 1:
      for (int32_t i = 0; i < w.out_h; ++i)
        for (int32_t j = 0; j < w.out_w; ++j) dnn_im2col_f32(fx, &w, i, j, fcolumn);
      break;
    case 2:
      for (int32_t i = 0; i < pixels; ++i)
        dnn_matvec_u8(weights, column, bias, rows, size, 128, 128, &q, y + i, pixels);
      break;
    case 3:
      for (int32_t i = 0; i < pixels; ++i)
        dnn_matvec_f32(fw, fcolumn, fbias, rows, size, fy + i, pixels);
      break;
    case 4:
      for (int32_t i = 0; i < pixels; ++i)
        dnn_crs_matvec_u8(&crs, column, bias, rows, 128, 128, &q, y + i, pixels);
      break;
    case 5:
      for (int32_t i = 0; i < pixels; ++i)
        dnn_crs_matvec_f32(&fcrs, fcolumn, fbias, rows, fy + i, pixels);
      break;
    case 6: dnn_max_pool_u8(x, &w, y); break;
    case 7: dnn_max_pool_f32(fx, &w, fy); break;
    case 8: dnn_average_pool_u8(x, &w, 128, 1.0f, &q, y); break;
    case 9: dnn_average_pool_f32(fx, &w, fy); break;
    case 10: dnn_relu_u8(x, size, 128, y); break;
    case 11: dnn_relu_f32(fx, size, fy); break;
    case 12: dnn_add_u8(x, weights, size, 128, 128, 0.5f, 0.25f, &q, y); break;
    case 13: dnn_add_f32(fx, fw, size, fy); break;
    case 14: dnn_softmax_u8(x, size, 0.05f, fy, y); break;
    case 15: dnn_softmax_f32(fx, size, fy); break;
    case 16: dnn_quantize(fx, size, &q, y); break;
    case 17: dnn_dequantize(x, size, 0.05f, 128, fy); break;
    case 18: dnn_widen(x, size, 128, column); break;
    default: abort();
  }
  count_end();
  return 0;
}

void _exit(int status) {
  (void)status;
  for (;;) {
  }
}
int _kill(int pid, int signal) { return pid + signal; }
int _getpid(void) { return 1; }
void *_sbrk(ptrdiff_t size) {
  (void)size;
  return (void *)-1;
}
