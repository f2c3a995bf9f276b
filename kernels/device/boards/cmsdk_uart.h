/* UART of Arm's Cortex-M System Design Kit (DDI 0479, 4.3). Its base address is UART_BASE. */
#include <stdint.h>

#define UART_REGISTER(offset) (*(volatile uint32_t *)(UART_BASE + (offset)))

static inline void uart_start(void)
{
    UART_REGISTER(0x10) = 16; /* BAUDDIV: the least */
    UART_REGISTER(0x08) = 1;  /* CTRL: transmit */
}

static inline void uart_put(char character)
{
    while (UART_REGISTER(0x04) & 1) /* STATE: the buffer is full */
        ;
    UART_REGISTER(0x00) = (uint8_t)character;
}
