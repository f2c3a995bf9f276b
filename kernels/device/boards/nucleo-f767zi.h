/* NUCLEO-F767ZI as it leaves reset, on its 16 MHz oscillator: USART3 on PD8 goes to the debugger's
 * serial port, with 115200 baud (RM0410: 5.3 RCC, 6.4 GPIO, 34.8 USART; UM1974, 6.9). */
#include <stdint.h>

#define BOARD_NAME "nucleo-f767zi"
#define CLOCK_HZ 16000000
#define REPORT_FOREVER 1
#define STM_REGISTER(address) (*(volatile uint32_t *)(address))

static inline void board_start(void)
{
}

static inline void uart_start(void)
{
    STM_REGISTER(0x40023830) |= 1u << 3;  /* RCC_AHB1ENR: GPIOD */
    STM_REGISTER(0x40023840) |= 1u << 18; /* RCC_APB1ENR: USART3 */
    STM_REGISTER(0x40020C24) = (STM_REGISTER(0x40020C24) & ~0xFu) | 7; /* PD8: function 7 */
    STM_REGISTER(0x40020C00) = (STM_REGISTER(0x40020C00) & ~(3u << 16)) | 2u << 16;
    STM_REGISTER(0x4000480C) = (CLOCK_HZ + 57600) / 115200; /* USART3_BRR */
    STM_REGISTER(0x40004800) = 1u << 3 | 1u;                /* CR1: TE, UE */
}

static inline void uart_put(char character)
{
    while (!(STM_REGISTER(0x4000481C) & 1u << 7)) /* ISR: TXE */
        ;
    STM_REGISTER(0x40004828) = (uint8_t)character; /* TDR */
}
