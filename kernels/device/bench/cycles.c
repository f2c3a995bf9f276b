/* Registers: Armv7-M Architecture Reference Manual, B3.3 (SysTick), C1.6.5 (DEMCR), C1.8 (DWT);
 * Armv6-M B3.3. */
#include "cycles.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SYST_CSR REGISTER(0xE000E010)
#define SYST_RVR REGISTER(0xE000E014)
#define SYST_CVR REGISTER(0xE000E018)
#define DEMCR REGISTER(0xE000EDFC)
#define DWT_CTRL REGISTER(0xE0001000)
#define DWT_CYCCNT REGISTER(0xE0001004)
#define DWT_LAR REGISTER(0xE0001FB0)

enum { SYSTICK_TOP = 0xFFFFFF };

static int has_dwt;
static volatile uint32_t turns; /* of SysTick */

void systick_handler(void);

void systick_handler(void)
{
    turns = turns + 1;
}

#if __ARM_ARCH_6M__
static int start_dwt(void)
{
    return 0;
}
#else
static int start_dwt(void)
{
    DEMCR = DEMCR | 1u << 24; /* TRCENA */
    DWT_LAR = 0xC5ACCE55;     /* a Cortex-M7's takes no writes before; others ignore it */
    DWT_CYCCNT = 0;
    DWT_CTRL = DWT_CTRL | 1u; /* CYCCNTENA */
    uint32_t first = DWT_CYCCNT;
    for (volatile int i = 0; i < 8; i++)
        ;
    return DWT_CYCCNT != first;
}
#endif

const char *cycles_start(void)
{
    has_dwt = start_dwt();
    if (has_dwt)
        return "dwt";
    SYST_RVR = SYSTICK_TOP;
    SYST_CVR = 0;
    SYST_CSR = 7; /* the processor's clock, with its interrupt */
    return "systick";
}

uint64_t cycles_now(void)
{
    static uint64_t dwt_cycles;
    if (has_dwt) {
        /* Whoever asks at least once in 2**32 cycles sees no wrap. */
        dwt_cycles += (uint32_t)(DWT_CYCCNT - (uint32_t)dwt_cycles);
        return dwt_cycles;
    }
    uint32_t before, value;
    do {
        before = turns;
        value = SYST_CVR;
    } while (before != turns);
    return (uint64_t)before * (SYSTICK_TOP + 1) + (SYSTICK_TOP - value);
}
