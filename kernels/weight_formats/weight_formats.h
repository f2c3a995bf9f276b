/* Products of weights as three formats hold them, and the unpacking of the third. */
#ifndef WEIGHT_FORMATS_H
#define WEIGHT_FORMATS_H

#include <stdint.h>

/* Longest code, in bits. */
#define LONGEST 24
/* Codes of so many bits are looked up at once. */
#define LOOKED_UP 8

typedef struct {
  int32_t offset;     /* minus the zero point of the inputs */
  int32_t multiplier; /* Q31 */
  int32_t shift;      /* to the right */
  int32_t zero;       /* of the outputs */
} affine_scale;

/* A canonical Huffman code over the entries of a code book, each of which is 8-bit Q. */
typedef struct {
  uint32_t first[LONGEST + 1]; /* first code of each length */
  uint16_t count[LONGEST + 1]; /* codes of each length */
  uint16_t index[LONGEST + 1]; /* entry of each length's first code */
  int8_t book[256];            /* centroids, in order of their codes */
  struct {
    int8_t value;
    uint8_t length; /* 0 where the code is longer */
  } short_codes[1 << LOOKED_UP];
} code_book;

void q7_products(const int8_t *columns, const int8_t *weights, const int32_t *bias, int8_t *out,
                 int32_t pixels, int32_t filters, int32_t size, int32_t shift);
void q7_products_simd(const int8_t *columns, const int8_t *weights, const int32_t *bias,
                      int8_t *out, int32_t pixels, int32_t filters, int32_t size, int32_t shift);
void affine_products(const int8_t *columns, const int8_t *weights, const int32_t *bias, int8_t *out,
                     int32_t pixels, int32_t filters, int32_t size, const affine_scale *scale);
void unpack_bit_by_bit(const code_book *book, const uint8_t *packed, int8_t *weights,
                       int32_t count);
void unpack_by_table(const code_book *book, const uint8_t *packed, int8_t *weights, int32_t count);

#endif
