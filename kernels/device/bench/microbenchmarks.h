/* Loops that are nearly all of one kind of instruction. */
#ifndef MCUSIM_MICROBENCHMARKS_H
#define MCUSIM_MICROBENCHMARKS_H

#include <stdint.h>

struct microbenchmark {
    const char *name;
    uint32_t (*run)(void); /* returns what it computed */
};

extern const struct microbenchmark microbenchmarks[];
extern const int32_t microbenchmark_count;

#endif
