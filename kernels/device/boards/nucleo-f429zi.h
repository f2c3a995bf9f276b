/* NUCLEO-F429ZI at 168 MHz from the debugger's 8 MHz clock, flash accelerator on: USART3 on PD8
 * goes to the debugger's serial port, with 115200 baud (RM0090, registers of FLASH, RCC, GPIO and
 * USART; UM1974, USART communication). */
#include <stdint.h>

#define BOARD_NAME "nucleo-f429zi"
#define CLOCK_HZ 168000000
#define REPORT_FOREVER 1
#define STM_REGISTER(address) (*(volatile uint32_t *)(address))
#define RCC_CR STM_REGISTER(0x40023800)
#define RCC_PLLCFGR STM_REGISTER(0x40023804)
#define RCC_CFGR STM_REGISTER(0x40023808)
#define FLASH_ACR STM_REGISTER(0x40023C00)

static inline void board_start(void)
{
    RCC_CR |= 1u << 18 | 1u << 16; /* HSEBYP, HSEON */
    while (!(RCC_CR & 1u << 17))   /* HSERDY */
        ;
    RCC_PLLCFGR = 8 | 336 << 6 | 1u << 22 | 7 << 24; /* 8 MHz / 8 * 336 / 2 */
    RCC_CR |= 1u << 24;                              /* PLLON */
    while (!(RCC_CR & 1u << 25))                     /* PLLRDY */
        ;
    FLASH_ACR = 5 | 1u << 8 | 1u << 9 | 1u << 10; /* 5 wait states, prefetch, both caches */
    RCC_CFGR = 5u << 10 | 4u << 13 | 2;           /* APB1 at a quarter, APB2 at half, PLL */
    while ((RCC_CFGR & 3u << 2) != 2u << 2)       /* SWS */
        ;
}

static inline void uart_start(void)
{
    STM_REGISTER(0x40023830) |= 1u << 3;  /* RCC_AHB1ENR: GPIOD */
    STM_REGISTER(0x40023840) |= 1u << 18; /* RCC_APB1ENR: USART3 */
    STM_REGISTER(0x40020C24) = (STM_REGISTER(0x40020C24) & ~0xFu) | 7; /* PD8: function 7 */
    STM_REGISTER(0x40020C00) = (STM_REGISTER(0x40020C00) & ~(3u << 16)) | 2u << 16;
    STM_REGISTER(0x40004808) = (CLOCK_HZ / 4 + 57600) / 115200; /* USART3_BRR */
    STM_REGISTER(0x4000480C) = 1u << 13 | 1u << 3;              /* CR1: UE, TE */
}

static inline void uart_put(char character)
{
    while (!(STM_REGISTER(0x40004800) & 1u << 7)) /* SR: TXE */
        ;
    STM_REGISTER(0x40004804) = (uint8_t)character; /* DR */
}
