/* Any core with flash at 0 and RAM at 0x20000000, under an emulator or a debugger: it talks by
 * semihosting, and whoever runs it knows the clock. */
#include <stdint.h>

#define BOARD_NAME "generic"
#define CLOCK_HZ 0
#define CONSOLE_SEMIHOSTING
#define REPORT_FOREVER 0

static inline void board_start(void)
{
}
