#include "console.h"

#include BOARD_HEADER

#if defined(CONSOLE_SEMIHOSTING)

/* Arm semihosting, version 3.0: the debugger stops at this breakpoint and does the rest. */
static void semihost(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

void console_start(void)
{
    board_start();
}

void console_write(const char *text)
{
    semihost(0x04, text); /* SYS_WRITE0 */
}

_Noreturn void console_exit(int code)
{
    /* SYS_EXIT with ADP_Stopped_ApplicationExit or ADP_Stopped_RunTimeErrorUnknown. */
    semihost(0x18, (const void *)(uintptr_t)(code ? 0x20023 : 0x20026));
    for (;;)
        ;
}

#else

void console_start(void)
{
    board_start();
    uart_start();
}

void console_write(const char *text)
{
    for (; *text; text++)
        uart_put(*text);
}

_Noreturn void console_exit(int code)
{
    (void)code;
    for (;;)
        ;
}

#endif
