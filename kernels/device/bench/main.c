/* The bench firmware: measures every microbenchmark, every layer and every network, and prints one
 * line of CSV each. docs/bench-firmware.md describes the lines. */
#include "console.h"
#include "cycles.h"
#include "microbenchmarks.h"
#include "network.h"

#include BOARD_HEADER

/* The first one warms caches up; the fewest cycles count. */
enum { REPETITIONS = 2 };

static char line[160];
static uint32_t length;
static int32_t rows; /* printed in this report */
static uint64_t overhead; /* of reading the counter */

static void put(const char *text)
{
    while (*text && length < sizeof line - 8)
        line[length++] = *text++;
}

static void comma(void)
{
    put(",");
}

static void put_number(uint64_t value)
{
    char digits[21];
    uint32_t at = sizeof digits - 1;
    digits[at] = 0;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    put(digits + at);
}

static void put_hexadecimal(uint32_t value, int32_t digits)
{
    while (digits--) {
        char digit[2] = {"0123456789abcdef"[value >> 4 * digits & 15], 0};
        put(digit);
    }
}

/* CRC-16 with the polynomial x^16 + x^12 + x^5 + 1, from 0xFFFF. */
static uint32_t check_of(const char *text, uint32_t count)
{
    uint32_t check = 0xFFFF;
    for (uint32_t i = 0; i < count; i++) {
        check ^= (uint32_t)(uint8_t)text[i] << 8;
        for (int32_t bit = 0; bit < 8; bit++)
            check = check << 1 ^ (check & 0x8000 ? 0x1021 : 0);
    }
    return check & 0xFFFF;
}

static void end_line(void)
{
    uint32_t check = check_of(line, length);
    comma();
    put_hexadecimal(check, 4);
    put("\r\n");
    line[length] = 0;
    console_write(line);
    length = 0;
}

/* FNV-1a of what was computed. */
static uint32_t digest(const int8_t *data, int32_t bytes)
{
    uint32_t hash = 2166136261u;
    while (bytes--)
        hash = (hash ^ (uint8_t)*data++) * 16777619u;
    return hash;
}

static void print_row(const char *model, int32_t layer, const char *operator_name, uint64_t cycles,
                      uint32_t computed)
{
    put_number((uint64_t)rows++);
    comma();
    put(model);
    comma();
    if (layer >= 0)
        put_number((uint64_t)layer);
    comma();
    put(operator_name);
    comma();
    put_number(cycles > overhead ? cycles - overhead : 0);
    comma();
    put_hexadecimal(computed, 8);
    end_line();
}

static uint64_t fewest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void measure_overhead(void)
{
    overhead = UINT64_MAX;
    for (int32_t i = 0; i < REPETITIONS; i++) {
        uint64_t start = cycles_now();
        overhead = fewest(overhead, cycles_now() - start);
    }
}

static void measure_microbenchmark(const struct microbenchmark *benchmark)
{
    uint64_t least = UINT64_MAX;
    uint32_t computed = 0;
    for (int32_t i = 0; i < REPETITIONS; i++) {
        uint64_t start = cycles_now();
        computed = benchmark->run();
        least = fewest(least, cycles_now() - start);
    }
    print_row("micro", -1, benchmark->name, least, computed);
}

/* Inputs that a host makes as well: the upper bytes of a linear congruential generator. */
static void fill_input(const struct mcusim_network *network)
{
    uint32_t state = 1;
    for (int32_t i = 0; i < network->input_bytes; i++) {
        state = state * 1664525u + 1013904223u;
        mcusim_arena[network->input + i] = (int8_t)(state >> 24);
    }
}

enum { MOST_LAYERS = 128 };

static uint64_t least_cycles[MOST_LAYERS];
static uint32_t digests[MOST_LAYERS];

static void measure_layers(const struct mcusim_network *network)
{
    for (int32_t i = 0; i < network->layer_count; i++)
        least_cycles[i] = UINT64_MAX;
    for (int32_t repetition = 0; repetition < REPETITIONS; repetition++) {
        fill_input(network);
        for (int32_t i = 0; i < network->layer_count; i++) {
            const struct mcusim_layer *layer = &network->layers[i];
            uint64_t start = cycles_now();
            mcusim_run_layer(layer);
            least_cycles[i] = fewest(least_cycles[i], cycles_now() - start);
            digests[i] = digest(mcusim_arena + layer->output, layer->output_bytes);
        }
    }
    for (int32_t i = 0; i < network->layer_count; i++)
        print_row(network->name, network->layers[i].index, network->layers[i].name,
                  least_cycles[i], digests[i]);
}

static void measure_network(const struct mcusim_network *network)
{
    const struct mcusim_layer *last = &network->layers[network->layer_count - 1];
    uint64_t least = UINT64_MAX;
    for (int32_t repetition = 0; repetition < REPETITIONS; repetition++) {
        fill_input(network);
        uint64_t start = cycles_now();
        for (int32_t i = 0; i < network->layer_count; i++)
            mcusim_run_layer(&network->layers[i]);
        least = fewest(least, cycles_now() - start);
    }
    print_row(network->name, -1, "", least,
              digest(mcusim_arena + last->output, last->output_bytes));
}

static int32_t rows_of_a_report(void)
{
    int32_t count = microbenchmark_count;
    for (int32_t i = 0; i < mcusim_network_count; i++)
        count += mcusim_networks[i].layer_count + 1;
    return count;
}

static void print_start(const char *timer)
{
    put("mcusim-bench,1," BOARD_NAME "," CORE_NAME ",");
    put(timer);
    comma();
    put_number(CLOCK_HZ);
    put("," BUILD_NAME ",");
    put_number((uint64_t)rows_of_a_report());
    end_line();
}

static void print_end(void)
{
    put("mcusim-bench-end,");
    put_number((uint64_t)rows);
    end_line();
}

int main(void)
{
    console_start();
    const char *timer = cycles_start();
    measure_overhead();
    do {
        rows = 0;
        print_start(timer);
        for (int32_t i = 0; i < microbenchmark_count; i++)
            measure_microbenchmark(&microbenchmarks[i]);
        for (int32_t i = 0; i < mcusim_network_count; i++) {
            measure_layers(&mcusim_networks[i]);
            measure_network(&mcusim_networks[i]);
        }
        print_end();
    } while (REPORT_FOREVER);
    return 0;
}
