"""Cycles: the manual's table for single instructions, measured boards for whole networks."""

import csv

import pytest

from mcusim.boards import CodeTraffic, ConstantStream, MemoryTraffic, load_board, price
from mcusim.calibration.counted import vector_of
from mcusim.instruction_mix import InstructionMix
from tests.shared import SHARED, needs_shared


def stated(name):
    """A board as manuals state it, without what was fitted to measured runs."""
    return load_board(name).unscaled


@pytest.mark.parametrize(
    ("mix", "cycles"),
    [
        ({"alu": 10}, 10),
        ({"load_multiple": 1, "load_accesses": 4}, 5),  # LDM of four registers: 1 + N
        ({"store_multiple": 1, "store_accesses": 8}, 9),
        ({"load_double": 1, "load_accesses": 2}, 3),
        ({"store_word": 5, "store_accesses": 5}, 5),
        ({"float_mac": 1}, 3),
        ({"float_divide": 1}, 14),
    ],
)
def test_cortex_m4_cycles_of_the_reference_manual(mix, cycles):
    core = load_board("nucleo-l496zg").core
    assert core.cycles_of(InstructionMix.of(mix)) == pytest.approx(cycles)


def test_a_load_takes_one_to_two_cycles():
    core = load_board("nucleo-l496zg").core
    cycles = core.cycles_of(InstructionMix.of({"load_byte": 100, "load_accesses": 100}))
    assert 100 <= cycles <= 200


def test_a_taken_branch_of_a_cortex_m4_takes_two_to_three_cycles():
    """SUBS and BHI take 3 cycles a turn on an nRF52: nrfx_coredep.h; 4 where they lie badly."""
    turn = {"alu": 1, "branch_conditional": 1, "taken_conditional": 1}
    assert 3 <= load_board("nucleo-l496zg").core.cycles_of(InstructionMix.of(turn)) <= 4


def weights(read, held, **more):
    return MemoryTraffic(constants=(ConstantStream(read, held, **more),))


def test_memory_does_not_stall_without_wait_states():
    board = stated("nucleo-l496zg")
    mix = InstructionMix.of({"alu": 1000, "load_byte": 500, "load_accesses": 500})
    code = CodeTraffic.of([4096], [3000], [20])
    traffic = MemoryTraffic(code, (ConstantStream(200, 1000),))
    slow, fast = (price(board, hz, mix, traffic) for hz in (16e6, 80e6))
    assert slow.fetch == slow.data == 0
    assert fast.core == slow.core
    assert fast.data == 200 / 8 * 4
    assert fast.fetch > 0
    assert price(board, 80e6, mix, traffic, placement={"code": "ram"}).fetch == 0
    assert price(board, 80e6, mix, traffic, placement={"weights": "sram2"}).data == 0


def test_constants_that_fit_the_data_cache_are_read_once():
    board = stated("nucleo-l496zg")
    mix = InstructionMix.zero()
    assert price(board, 80e6, mix, weights(5000, 256)).data == 256 / 8 * 4
    assert price(board, 80e6, mix, weights(5000, 257)).data == 5000 / 8 * 4


def test_more_rows_than_the_cache_has_lines_miss_at_every_access():
    """The nine taps of a depthwise convolution against the eight lines of an STM32L4."""
    board = stated("nucleo-l496zg")
    eight, nine = (
        price(board, 80e6, InstructionMix.zero(), weights(5000, 576, rows=rows)) for rows in (8, 9)
    )
    assert nine.data == 5000 / 4 * 4
    assert eight.data == 5000 / 8 * 4


def test_a_loop_within_the_cache_waits_once_and_one_of_twice_its_size_always_does():
    board = stated("nucleo-l496zg")
    mix = InstructionMix.of({"alu": 1000})
    fetch = [
        price(board, 80e6, mix, MemoryTraffic(CodeTraffic.of([size], [4000], [0]))).fetch
        for size in (1024, 2048, 4096)
    ]
    once, always = 1024 / 8 * 4, 4000 / 8 * 4
    assert fetch[0] == once
    assert once < fetch[1] == fetch[2] < always, "some of it while the line before is executed"


def test_a_cache_that_keeps_branch_targets_alone_waits_after_each_of_them():
    """RM0090, section 3.4.2: what was read ahead is not copied into the cache."""
    board = stated("disco-f469ni")
    mix = InstructionMix.of({"alu": 1000})
    straight, jumping = (
        price(board, 180e6, mix, MemoryTraffic(CodeTraffic.of([500], [4000], [jumps]))).fetch
        for jumps in (0, 100)
    )
    assert 0 < straight < jumping
    assert price(board, 30e6, mix, MemoryTraffic(CodeTraffic.of([500], [4000], [100]))).fetch == 0


#: Latency in ms of firmware whose instructions were counted: TFLM and CMSIS-NN of 2020 with each
#: project's flag. MLPerf Tiny v0.5 closed/reference; Heim et al., tables 5.8 and 5.9.
MEASURED = [
    ("kws_ref_model", "Os", "nucleo-l4r5zi", 181.9174),
    ("pretrainedResnet_quant", "Os", "nucleo-l4r5zi", 704.2254),
    ("ad01_int8", "Os", "nucleo-l4r5zi", 10.0516),
    ("01a_LeNet-MNIST_Q-full", "Ofast", "nucleo-l496zg", 36.39),
    ("01b_ResNet20_CIFAR-10_Q-full", "Ofast", "nucleo-l496zg", 2217.01),
    ("01a_LeNet-MNIST_Q-full", "Ofast", "disco-f469ni", 16.11),
    ("01b_ResNet20_CIFAR-10_Q-full", "Ofast", "disco-f469ni", 984.32),
]


@needs_shared
def test_uncalibrated_boards_predict_measured_firmware_within_their_interval():
    """No number of a board was fitted to these rows, apart from the width of the interval."""
    counted: dict[tuple[str, str], list[dict[str, str]]] = {}
    with (SHARED / "counted" / "tflm_operators.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if (row["lib"], row["kernels"]) == ("tflm_v2.2.0", "cmsis"):
                counted.setdefault((row["model"], row["opt"]), []).append(row)
    for model, flag, name, measured_ms in MEASURED:
        board = stated(name)
        clock_hz = board.clock.default_hz
        cycles = 0.0
        for row in counted[model, flag]:
            if row["op_index"] in ("construct", "allocate_tensors"):
                continue
            held = 1.0
            for extent in row["w_shape"].split("x"):
                held *= int(extent or 0)
            macs, taps = float(row["macs"] or 0), 9 * (row["op"] == "DEPTHWISE_CONV_2D")
            traffic = weights(macs, held, rows=taps) if taps else weights(macs / 2, held)
            cycles += price(board, clock_hz, InstructionMix(vector_of(row)), traffic).total
        ratio = measured_ms * 1e-3 * clock_hz / cycles
        spread = board.core.uncalibrated
        low, high = spread.measured_over_predicted_low, spread.measured_over_predicted_high
        assert low < ratio < high, (model, name, ratio)


#: Latency in ms on the nRF52840-DK, Profentzas et al. 2021, table 3: rows that fit the build best.
Q7_MEASURED = {
    ("mnist", "16", "conv1_basic"): 188,
    ("mnist", "32", "conv1_basic"): 597,
    ("mnist", "64", "conv1_basic"): 2091,
    ("mnist", "96", "conv1_basic"): 4495,
    ("cifar10", "16", "as_firmware"): 357,
    ("cifar10", "32", "as_firmware"): 1004,
}

#: Columns of the counted q7 kernels by mcusim's names of the classes.
Q7_COLUMNS = {
    "alu": "alu ext other",
    "if_then": "it",
    "multiply": "mul",
    "multiply_long": "mul_long",
    "multiply_half": "mul_half",
    "simd_mac": "simd_mac",
    "simd_other": "simd_pack simd_alu sat",
    "divide": "div",
    "load_byte": "ld_b",
    "load_half": "ld_h",
    "load_word": "ld_w",
    "load_double": "ld_d",
    "load_multiple": "ldm",
    "store_byte": "st_b",
    "store_half": "st_h",
    "store_word": "st_w",
    "store_double": "st_d",
    "store_multiple": "stm",
    "branch_conditional": "br_cond",
    "branch": "br_uncond",
    "call": "bl",
    "branch_indirect": "bx_ret",
    "branch_table": "tb",
    "nop": "nop",
    "taken_conditional": "br_cond_taken",
    "taken_unconditional": "br_uncond bl bx_ret tb",
    "load_accesses": "ld_b ld_h ld_w ld_d ld_d ldm_regs",
    "store_accesses": "st_b st_h st_w st_d st_d stm_regs",
}


@needs_shared
def test_the_q7_kernels_of_the_nrf52840_without_its_cache_are_predicted_within_six_percent():
    """The published ELF leaves the cache off and keeps weights in RAM; nothing is fitted."""
    layers: dict[tuple[str, str, str], dict[str, InstructionMix]] = {}
    with (SHARED / "counted" / "q7_networks.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            key = (row["dataset"], row["K"], row["variant"])
            if row["build"] != "m4_O3_nobuiltin_bytecpy_2021" or key not in Q7_MEASURED:
                continue
            counts = {
                name: sum(float(row[column] or 0) for column in columns.split())
                for name, columns in Q7_COLUMNS.items()
            }
            mix = layers.setdefault(key, {}).get(row["layer"], InstructionMix.zero())
            layers[key][row["layer"]] = mix + InstructionMix.of(counts)
    board = stated("nrf52840-dk").with_flash(icache_on=False)
    for key, measured_ms in Q7_MEASURED.items():
        found = [
            price(board, 64e6, mix, placement={"weights": "ram"}) for mix in layers[key].values()
        ]
        ratio = measured_ms * 64e3 / sum(each.total for each in found)
        assert 0.94 < ratio < 1.06, (key, ratio)
        if key == ("cifar10", "32", "as_firmware"):
            # The published ELF replayed word by word, at every place in a line of 16 bytes.
            waits = sum(each.fetch for each in found) / (measured_ms * 64e3)
            assert waits == pytest.approx(0.247, rel=0.15)
