/* From reset to main: no library, no vendor file. */
#include "console.h"

#include <stdint.h>

extern uint32_t stack_end[], data_load[], data_start[], data_end[], bss_start[], bss_end[];

int main(void);
void reset_handler(void);
void systick_handler(void);

static void fault_handler(void)
{
    console_write("fault\r\n");
    console_exit(1);
}

/* Loops that the compiler must not turn into calls of themselves. */
#define KEEP_LOOP __asm__ volatile("")

void reset_handler(void)
{
    const uint32_t *from = data_load;
    for (uint32_t *to = data_start; to < data_end; to++, from++) {
        *to = *from;
        KEEP_LOOP;
    }
    for (uint32_t *to = bss_start; to < bss_end; to++) {
        *to = 0;
        KEEP_LOOP;
    }
    console_exit(main());
}

__attribute__((section(".vectors"), used)) static const void *const vectors[] = {
    stack_end,     reset_handler, fault_handler, fault_handler, fault_handler, fault_handler,
    fault_handler, fault_handler, 0,             0,             0,             fault_handler,
    fault_handler, 0,             fault_handler, systick_handler,
};

/* What compilers call where they see a copy or a fill. */
void *memcpy(void *restrict to, const void *restrict from, __SIZE_TYPE__ bytes);
void *memset(void *to, int value, __SIZE_TYPE__ bytes);

void *memcpy(void *restrict to, const void *restrict from, __SIZE_TYPE__ bytes)
{
    uint8_t *target = to;
    const uint8_t *source = from;
    if ((((uintptr_t)target | (uintptr_t)source) & 3) == 0) {
        for (; bytes >= 4; bytes -= 4, target += 4, source += 4) {
            *(uint32_t *)(void *)target = *(const uint32_t *)(const void *)source;
            KEEP_LOOP;
        }
    }
    for (; bytes; bytes--) {
        *target++ = *source++;
        KEEP_LOOP;
    }
    return to;
}

void *memset(void *to, int value, __SIZE_TYPE__ bytes)
{
    for (uint8_t *target = to; bytes; bytes--) {
        *target++ = (uint8_t)value;
        KEEP_LOOP;
    }
    return to;
}
