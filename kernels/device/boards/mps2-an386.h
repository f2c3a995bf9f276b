/* MPS2 with a Cortex-M4 (Arm DAI 0386); qemu-system-arm -M mps2-an386. */
#define BOARD_NAME "mps2-an386"
#define CLOCK_HZ 25000000
#define REPORT_FOREVER 1
#define UART_BASE 0x40004000u

#include "cmsdk_uart.h"

static inline void board_start(void)
{
}
