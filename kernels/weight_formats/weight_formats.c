/* Our own reading of the formats that Svoboda et al. compare (EuroMLSys 2022, section 6): their
 * code is not published. Plain loops, as a reference implementation writes them.
 */
#include "weight_formats.h"

static int8_t clamped(int32_t value) {
  return (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
}

void q7_products(const int8_t *columns, const int8_t *weights, const int32_t *bias, int8_t *out,
                 int32_t pixels, int32_t filters, int32_t size, int32_t shift) {
  for (int32_t p = 0; p < pixels; ++p) {
    for (int32_t f = 0; f < filters; ++f) {
      const int8_t *x = columns + p * size, *w = weights + f * size;
      int32_t sum = bias[f] + (1 << shift >> 1);
      for (int32_t i = 0; i < size; ++i) sum += x[i] * w[i];
      *out++ = clamped(sum >> shift);
    }
  }
}

#if defined(__ARM_FEATURE_SIMD32)
static inline int32_t word_at(const int8_t *at) {
  int32_t word;
  __builtin_memcpy(&word, at, 4);
  return word;
}

static inline int32_t even_bytes(int32_t word) {
  int32_t pair;
  __asm("sxtb16 %0, %1" : "=r"(pair) : "r"(word));
  return pair;
}

static inline int32_t odd_bytes(int32_t word) {
  int32_t pair;
  __asm("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
  return pair;
}

static inline int32_t two_products(int32_t a, int32_t b, int32_t sum) {
  int32_t result;
  __asm("smlad %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
  return result;
}

void q7_products_simd(const int8_t *columns, const int8_t *weights, const int32_t *bias,
                      int8_t *out, int32_t pixels, int32_t filters, int32_t size, int32_t shift) {
  for (int32_t p = 0; p < pixels; ++p) {
    for (int32_t f = 0; f < filters; ++f) {
      const int8_t *x = columns + p * size, *w = weights + f * size;
      int32_t sum = bias[f] + (1 << shift >> 1);
      int32_t i = 0;
      for (; i + 4 <= size; i += 4) {
        const int32_t xs = word_at(x + i), ws = word_at(w + i);
        sum = two_products(even_bytes(xs), even_bytes(ws), sum);
        sum = two_products(odd_bytes(xs), odd_bytes(ws), sum);
      }
      for (; i < size; ++i) sum += x[i] * w[i];
      *out++ = clamped(sum >> shift);
    }
  }
}
#endif

/* Rounds twice, as gemmlowp does: the product to Q31, then what is shifted out. */
static int32_t scaled(int32_t sum, const affine_scale *scale) {
  const int64_t product = (int64_t)sum * scale->multiplier;
  const int32_t high = (int32_t)((product + (product >= 0 ? 1 << 30 : 1 - (1 << 30))) / (1LL << 31));
  const int32_t mask = (1 << scale->shift) - 1, rest = high & mask;
  return (high >> scale->shift) + (rest > (mask >> 1) + (high < 0));
}

void affine_products(const int8_t *columns, const int8_t *weights, const int32_t *bias, int8_t *out,
                     int32_t pixels, int32_t filters, int32_t size, const affine_scale *scale) {
  for (int32_t p = 0; p < pixels; ++p) {
    for (int32_t f = 0; f < filters; ++f) {
      const int8_t *x = columns + p * size, *w = weights + f * size;
      int32_t sum = bias[f];
      for (int32_t i = 0; i < size; ++i) sum += (x[i] + scale->offset) * w[i];
      *out++ = clamped(scaled(sum, scale) + scale->zero);
    }
  }
}

static int8_t decoded(const code_book *book, const uint8_t *packed, uint32_t *at) {
  uint32_t code = 0;
  for (int32_t length = 1;; ++length) {
    code = code << 1 | (packed[*at >> 3] >> (7 - (*at & 7)) & 1);
    ++*at;
    const uint32_t above = code - book->first[length];
    if (above < book->count[length]) return book->book[book->index[length] + above];
  }
}

void unpack_bit_by_bit(const code_book *book, const uint8_t *packed, int8_t *weights,
                       int32_t count) {
  uint32_t at = 0;
  for (int32_t i = 0; i < count; ++i) weights[i] = decoded(book, packed, &at);
}

void unpack_by_table(const code_book *book, const uint8_t *packed, int8_t *weights, int32_t count) {
  uint32_t at = 0;
  for (int32_t i = 0; i < count; ++i) {
    const uint8_t *byte = packed + (at >> 3);
    const uint32_t bits = ((uint32_t)byte[0] << 8 | byte[1]) >> (8 - (at & 7)) & 0xff;
    const uint32_t length = book->short_codes[bits].length;
    if (length) {
      weights[i] = book->short_codes[bits].value;
      at += length;
    } else {
      weights[i] = decoded(book, packed, &at);
    }
  }
}
