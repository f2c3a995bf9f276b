#include "microbenchmarks.h"

enum { TURNS = 1000, WORDS = 512 };

#define FOUR(x) x x x x
#define SIXTEEN(x) FOUR(FOUR(x))

/* Keeps the compiler from knowing a value, at no instruction. */
#define OPAQUE(x) __asm__ volatile("" : "+r"(x))

static uint32_t alu(void)
{
    uint32_t a = 1, b = 3;
    for (int32_t i = 0; i < TURNS; i++) {
        SIXTEEN(a += b; OPAQUE(a); b ^= a; OPAQUE(b);)
    }
    return a + b;
}

static uint32_t multiply(void)
{
    uint32_t a = 3;
    for (int32_t i = 0; i < TURNS; i++) {
        SIXTEEN(a *= a; OPAQUE(a);)
    }
    return a;
}

static uint32_t divide(void)
{
    uint32_t a = 1, sum = 0;
    for (int32_t i = 0; i < TURNS; i++) {
        uint32_t b = 0x3fffffffu + (uint32_t)i;
        FOUR(OPAQUE(a); OPAQUE(b); sum += b / a; a += 3;)
    }
    return sum;
}

static uint32_t branches(void)
{
    uint32_t a = 0x9E3779B9u;
    uint32_t odd = 0;
    for (int32_t i = 0; i < 16 * TURNS; i++) {
        OPAQUE(odd);
        if (a & 1)
            __asm__ volatile("" : "+r"(odd) : : "memory");
        else
            odd++;
        OPAQUE(odd);
        a = a >> 1 | a << 31;
    }
    return odd;
}

/* As much code as no small cache and no prefetch buffer holds, straight through: 8 KiB. */
static uint32_t straight_code(void)
{
    uint32_t a = 1, b = 3;
    for (int32_t i = 0; i < TURNS / 50; i++) {
        SIXTEEN(SIXTEEN(FOUR(a += b; OPAQUE(a); b ^= a; OPAQUE(b);)))
    }
    return a + b;
}

static uint32_t ram[WORDS];
static const uint32_t flash[WORDS] = {1, 2, 3};

static uint32_t sum_of(const uint32_t *words)
{
    uint32_t sum = 0;
    for (int32_t i = 0; i < TURNS / 50; i++) {
        OPAQUE(words);
        for (int32_t at = 0; at < WORDS; at += 16) {
            const uint32_t *from = words + at;
            SIXTEEN(sum += *(const volatile uint32_t *)from++;)
        }
    }
    return sum;
}

static uint32_t load_flash(void)
{
    return sum_of(flash);
}

/* Words that lie within the code, which compilers read so where no instruction holds them. */
static uint32_t load_literal(void)
{
    uint32_t sum = 0;
    for (int32_t i = 0; i < TURNS; i++) {
        uint32_t a, b;
        __asm__ volatile(".rept 8\n\t"
                         "ldr %0, 9f\n\t"
                         "ldr %1, 7f\n\t"
                         ".endr\n\t"
                         "b 8f\n\t"
                         ".balign 4\n"
                         "9: .word 1\n"
                         "7: .word 2\n"
                         "8:"
                         : "=l"(a), "=l"(b));
        sum += a + b;
    }
    return sum;
}

static uint32_t load_ram(void)
{
    return sum_of(ram);
}

static uint32_t store_ram(void)
{
    for (int32_t i = 0; i < TURNS / 50; i++) {
        for (int32_t at = 0; at < WORDS; at += 16) {
            uint32_t *to = ram + at;
            SIXTEEN(*(volatile uint32_t *)to++ = (uint32_t)at;)
        }
    }
    return ram[WORDS - 1];
}

const struct microbenchmark microbenchmarks[] = {
    {"alu", alu},
    {"multiply", multiply},
    {"divide", divide},
    {"branches", branches},
    {"straight_code", straight_code},
    {"load_flash", load_flash},
    {"load_literal", load_literal},
    {"store_ram", store_ram}, /* leaves what load_ram adds up */
    {"load_ram", load_ram},
};

const int32_t microbenchmark_count = sizeof microbenchmarks / sizeof *microbenchmarks;
