/* A counter of processor cycles. */
#ifndef MCUSIM_CYCLES_H
#define MCUSIM_CYCLES_H

#include <stdint.h>

/* Starts the counter of the debug unit (DWT), or SysTick where there is none; returns its name. */
const char *cycles_start(void);

uint64_t cycles_now(void);

#endif
