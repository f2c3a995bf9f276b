/* Where text goes: the board's UART, or a debugger by semihosting. */
#ifndef MCUSIM_CONSOLE_H
#define MCUSIM_CONSOLE_H

void console_start(void);
void console_write(const char *text);

/* Ends under a debugger; on a board by itself it never returns and does nothing. */
_Noreturn void console_exit(int code);

#endif
