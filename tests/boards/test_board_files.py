"""Facts of the boards that ship, as manuals and the papers that measured on them give them."""

import pytest

import mcusim
from mcusim.boards import board_names, load_board
from tests.shared import SHARED, needs_shared

#: Core, highest clock in Hz, flash and RAM in KiB: first pages of the datasheets; Svoboda et al.,
#: EuroMLSys 2022, table 1; Heim et al., table 5.1; MLPerf Tiny's system descriptions.
FACTS = {
    "arduino-nano-33-ble-sense": ("cortex-m4", 64e6, 1024, 256),
    "apollo510-evb": ("cortex-m55", 250e6, 4096, 3584),
    "cy8cproto-062-4343w": ("cortex-m4", 150e6, 2048, 1024),
    "disco-f469ni": ("cortex-m4", 180e6, 2048, 384),
    "disco-f746ng": ("cortex-m7", 216e6, 1024, 320),
    "ek-ra8d1": ("cortex-m85", 480e6, 2016, 960),
    "nrf52840-dk": ("cortex-m4", 64e6, 1024, 256),
    "nrf5340-dk": ("cortex-m33", 128e6, 1024, 512),
    "nucleo-f091rc": ("cortex-m0", 48e6, 256, 32),
    "nucleo-f207zg": ("cortex-m3", 120e6, 1024, 128),
    "nucleo-f429zi": ("cortex-m4", 180e6, 2048, 256),
    "nucleo-f746zg": ("cortex-m7", 216e6, 1024, 320),
    "nucleo-f767zi": ("cortex-m7", 216e6, 2048, 512),
    "nucleo-g0b1re": ("cortex-m0plus", 64e6, 512, 144),
    "nucleo-h7a3zi-q": ("cortex-m7", 280e6, 2048, 1312),
    "nucleo-l496zg": ("cortex-m4", 80e6, 1024, 320),
    "nucleo-l4r5zi": ("cortex-m4", 120e6, 2048, 640),
    "nucleo-u385rg-q": ("cortex-m33", 96e6, 1024, 256),
    "nucleo-u575zi-q": ("cortex-m33", 160e6, 2048, 784),
    "numaker-m467hj": ("cortex-m4", 200e6, 1024, 512),
    "raspberry-pi-pico": ("cortex-m0plus", 133e6, 2048, 264),
}


@pytest.mark.parametrize("name", FACTS)
def test_core_clock_and_memories_are_those_of_the_chip(name):
    board = load_board(name)
    facts = (board.core.name, board.clock.max_hz, board.flash.bytes >> 10, board.ram.bytes >> 10)
    assert facts == FACTS[name]
    assert not board.core.has_fpu or board.core.name not in ("cortex-m0", "cortex-m0plus")


def test_no_board_is_left_out():
    assert set(board_names()) == {*FACTS, "raspberry-pi-4b"}


def test_a_linux_computer_says_that_it_is_coarse():
    board = load_board("raspberry-pi-4b")
    bounds = board.core.uncalibrated
    assert "coarse" in board.description
    assert bounds.measured_over_predicted_high / bounds.measured_over_predicted_low > 100


def test_boards_that_share_a_chip_differ_in_what_surrounds_it():
    discovery, nucleo = load_board("disco-f746ng"), load_board("nucleo-f746zg")
    assert (discovery.flash, discovery.ram) == (nucleo.flash, nucleo.ram)
    arduino, kit = load_board("arduino-nano-33-ble-sense"), load_board("nrf52840-dk")
    assert (arduino.core, arduino.flash) == (kit.core, kit.with_flash(icache_on=False).flash)
    assert arduino.power.active_a_per_hz > 2 * kit.power.active_a_per_hz


@pytest.mark.parametrize(
    ("name", "megahertz", "wait_states"),
    [
        ("nucleo-h7a3zi-q", (42, 43, 225, 280), (0, 1, 5, 6)),  # RM0455, table 16, VOS0
        ("nucleo-u385rg-q", (32, 64, 96), (0, 1, 2)),  # RM0487, range 1
        ("nucleo-u575zi-q", (32, 96, 160), (0, 2, 4)),  # RM0456, range 1
        ("cy8cproto-062-4343w", (29, 87, 100, 150), (0, 2, 3, 4)),  # mtb-pdl-cat1, 1.1 V
    ],
)
def test_wait_states_of_the_manuals(name, megahertz, wait_states):
    flash = load_board(name).flash
    assert tuple(flash.wait_states_at(value * 1e6) for value in megahertz) == wait_states


#: Median power in mW: MLPerf Tiny (STMicroelectronics, Krai), Deutel et al. (tables 3 to 5).
MEASURED_MW = {
    "nucleo-u575zi-q": 25.2,
    "nucleo-h7a3zi-q": 136.9,
    "arduino-nano-33-ble-sense": 118.3,
    "raspberry-pi-pico": 84.4,
    "raspberry-pi-4b": 3803,
}


@pytest.mark.parametrize("name", MEASURED_MW)
def test_power_is_what_was_measured_on_the_board(name):
    board = load_board(name)
    watts = board.power.active_w(board.clock.default_hz)
    assert watts * 1e3 == pytest.approx(MEASURED_MW[name], rel=0.03)


@needs_shared
@pytest.mark.parametrize(
    ("model", "milliseconds"),
    [("01a_LeNet-MNIST_Q-full", 8.05), ("01b_ResNet20_CIFAR-10_Q-full", 449.3)],
)
def test_a_board_from_its_manuals_alone_predicts_what_was_measured_on_it(model, milliseconds):
    """Heim et al., tables 5.8 and 5.9: NUCLEO-F767ZI, TFLM 2.2.0 with CMSIS-NN of 2020, -Ofast."""
    graph = mcusim.load_model(SHARED / "models" / "heim" / f"{model}.tflite")
    board = load_board("nucleo-f767zi")
    estimate = mcusim.estimate(graph, board, "cmsis-nn@2020", "gcc-Ofast")
    assert estimate.latency_s * 1e3 == pytest.approx(milliseconds, rel=0.12)
    low, high = estimate.latency_interval_s
    assert low < milliseconds / 1e3 < high
