/* MPS2 with a Cortex-M33 (Arm DAI 0505); qemu-system-arm -M mps2-an505. It starts in the secure
 * state, and these are the secure addresses. */
#define BOARD_NAME "mps2-an505"
#define CLOCK_HZ 20000000
#define REPORT_FOREVER 1
#define UART_BASE 0x50200000u

#include "cmsdk_uart.h"

static inline void board_start(void)
{
}
