/* nRF52840 DK: transmits on P0.06, which goes to the debugger's serial port, with 115200 baud
 * (nRF52840 Product Specification: CPU, NVMC, GPIO, UART). */
#include <stdint.h>

#define BOARD_NAME "nrf52840-dk"
#define CLOCK_HZ 64000000
#define REPORT_FOREVER 1
#define NRF_REGISTER(address) (*(volatile uint32_t *)(address))

static inline void board_start(void)
{
    NRF_REGISTER(0x4001E540) = 1; /* NVMC.ICACHECNF: cache on */
}

static inline void uart_start(void)
{
    NRF_REGISTER(0x50000508) = 1u << 6;    /* P0.OUTSET: idle is high */
    NRF_REGISTER(0x50000518) = 1u << 6;    /* P0.DIRSET */
    NRF_REGISTER(0x4000250C) = 6;          /* UART0.PSEL.TXD */
    NRF_REGISTER(0x40002524) = 0x01D7E000; /* BAUDRATE */
    NRF_REGISTER(0x40002500) = 4;          /* ENABLE */
    NRF_REGISTER(0x40002008) = 1;          /* TASKS_STARTTX */
}

static inline void uart_put(char character)
{
    NRF_REGISTER(0x4000211C) = 0; /* EVENTS_TXDRDY */
    NRF_REGISTER(0x4000251C) = (uint8_t)character;
    while (!NRF_REGISTER(0x4000211C))
        ;
}
