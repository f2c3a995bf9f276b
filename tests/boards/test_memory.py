"""Memories: what lies where costs what, caches that are off, slower flash at low supply."""

import pytest

import mcusim
from mcusim.boards import (
    CodeTraffic,
    ConstantStream,
    MemoryTraffic,
    WorkingTraffic,
    external_energy_j,
    load_board,
    price,
)
from mcusim.errors import BoardError, InputError
from mcusim.instruction_mix import InstructionMix
from tests.small_models import convolution

NOTHING = InstructionMix.zero()
WORK = InstructionMix.of({"alu": 1000, "branch": 100, "taken_unconditional": 100})


def waits(board, clock_hz, traffic, **placement):
    found = price(board, clock_hz, NOTHING, traffic, placement=placement)
    scale = (
        board.calibration.time_scale if board.calibration else board.core.uncalibrated.time_scale
    )
    return {name: value / scale for name, value in vars(found).items()}


def test_a_memory_without_a_table_does_not_wait():
    board = load_board("nucleo-f767zi")
    traffic = MemoryTraffic(constants=(ConstantStream(1e6, 1e5),))
    for place in ("ram", "dtcm", "sram1"):
        assert waits(board, 216e6, traffic, weights=place)["data"] == 0
    assert waits(board, 216e6, traffic)["data"] > 0


def test_weights_behind_a_cache_wait_once_a_line():
    """A line of 32 bytes from SDRAM of 16 bits at 108 MHz: 83 ns and 148 ns."""
    board = load_board("disco-f746ng")
    line = (8.3e-8 + 32 / 216e6) * 200e6
    traffic = MemoryTraffic(constants=(ConstantStream(64_000, 64_000),))
    assert waits(board, 200e6, traffic, weights="sdram")["data"] == pytest.approx(2000 * line)
    held = MemoryTraffic(constants=(ConstantStream(64_000, 3_200),))
    assert waits(board, 200e6, held, weights="sdram")["data"] == pytest.approx(100 * line)


def test_an_arena_without_a_cache_waits_at_every_access():
    board = load_board("disco-f469ni")
    traffic = MemoryTraffic(arena=WorkingTraffic(1000, 100))
    each = (1e-7 + 4 / 360e6) * 180e6
    assert waits(board, 180e6, traffic, arena="sdram")["working"] == pytest.approx(1000 * each)
    assert waits(board, 180e6, traffic)["working"] == 0


def test_weights_in_flash_cost_an_f767_energy_but_hardly_time():
    """Svoboda et al., EuroMLSys 2022, section 5.1: last convolution of MobileNetV2, the same time
    at a resolution of 1 ms with weights in SRAM or flash, and 0.07 mJ more from flash."""
    graph, board = mcusim.load_model("mobilenet-v2-0.35-128"), load_board("nucleo-f767zi")
    flash, sram = (
        next(
            layer
            for layer in mcusim.estimate(
                graph, board, "cmsis-nn@2021", placement={"weights": place}
            ).layers
            if layer.macs == 4 * 4 * 112 * 1280
        )
        for place in ("flash", "sram1")
    )
    assert 0 < flash.latency_s - sram.latency_s < 0.5e-3
    assert flash.energy_j - sram.energy_j == pytest.approx(0.07e-3, rel=0.3)


def test_a_card_is_two_orders_of_magnitude_slower_than_flash():
    """Svoboda et al., EuroMLSys 2022, section 5.1: weights of a layer on a uSD card."""
    graph, board = convolution(), load_board("nucleo-f767zi")
    flash, card = (
        mcusim.estimate(graph, board, placement={"weights": place}).layers[0].cycles_by_cause.data
        for place in ("flash", "sd")
    )
    assert card > 100 * flash


def test_external_memory_takes_energy_of_its_own():
    board = load_board("disco-f746ng")
    traffic = MemoryTraffic(constants=(ConstantStream(64_000, 64_000),))
    assert external_energy_j(board, traffic) == 0
    assert external_energy_j(board, traffic, {"weights": "sdram"}) == pytest.approx(64_000 * 1e-9)
    graph = convolution()
    inside = mcusim.estimate(graph, board)
    outside = mcusim.estimate(graph, board, placement={"weights": "sdram"})
    active_w = inside.energy_j / inside.latency_s
    assert outside.energy_j > outside.latency_s * active_w


def test_code_waits_where_firmware_leaves_the_cache_off(tmp_path):
    """Off after reset on an nRF52840: every branch and every line of code waits."""
    path = tmp_path / "bare.toml"
    path.write_text('base = "nrf52840-dk"\n[flash]\nicache_on = false # startup code\n')
    code = MemoryTraffic(CodeTraffic.of([200], [3_200], [100]))
    on, off = (price(load_board(name), 64e6, WORK, code).fetch for name in ("nrf52840-dk", path))
    assert on < 2 * 200 / 16 * 1.1  # each line once
    assert off > 2 * 100


def test_a_low_supply_needs_more_wait_states():
    """RM0090 Rev 21, table 12."""
    flash = load_board("disco-f469ni").flash
    assert flash.wait_states_at(120e6) == flash.wait_states_at(120e6, 3.3) == 3
    assert [flash.wait_states_at(120e6, volts) for volts in (2.6, 2.3, 1.9)] == [4, 5, 5]
    graph, board = convolution(), load_board("disco-f469ni")
    high, low = (
        mcusim.estimate(graph, board, clock_hz=120e6, supply_v=volts) for volts in (3.3, 1.8)
    )
    assert low.cycles > high.cycles
    with pytest.raises(InputError, match=r"runs at 1 to 168 MHz at 1\.8 V, not at 180 MHz"):
        mcusim.estimate(graph, board, supply_v=1.8)


@pytest.mark.parametrize(
    ("name", "fast_hz", "slow_hz"),
    [
        ("nucleo-h7a3zi-q", 280e6, 40e6),
        ("nucleo-l4r5zi", 120e6, 70e6),
        ("nucleo-u575zi-q", 160e6, 60e6),
    ],
)
@pytest.mark.parametrize("network", ["ad-autoencoder", "resnet-8"])
def test_cycles_do_not_depend_on_the_clock_where_firmware_keeps_the_wait_states(
    name, fast_hz, slow_hz, network
):
    """MLPerf Tiny v1.3, STMicroelectronics, streaming wake word: within 0.1 % on three boards.

    Duty cycle, period and clock: 0.13259 of 32.064 ms at 280 MHz against 0.92807 of 32.073 ms at
    40 MHz, 0.56085 of 31.987 at 120 against 0.95857 of 32.063 at 70, 0.36346 of 32.071 at 160
    against 0.96974 of 32.053 at 60.
    """
    board, graph = load_board(name), mcusim.load_model(network)
    fast, slow = (
        mcusim.estimate(graph, board, "cmsis-nn", clock_hz=hz).cycles for hz in (fast_hz, slow_hz)
    )
    assert fast == pytest.approx(slow, rel=0.001)


def test_firmware_that_sets_the_wait_states_of_its_own_clock_waits_less(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(
        'base = "nucleo-l4r5zi"\n[flash]\nwait_states_for_hz = 70_000_000 # our system_clock.c\n'
    )
    graph = mcusim.load_model("ad-autoencoder")
    kept, own = (
        mcusim.estimate(graph, load_board(board), "cmsis-nn", clock_hz=70e6)
        for board in ("nucleo-l4r5zi", path)
    )
    assert own.cycles < 0.97 * kept.cycles


def test_cmsis_nn_is_immune_to_what_slows_the_reference_kernels_on_an_f469():
    """Heim et al.: 1.22 times the cycles of an L496 with reference kernels, 1.00 with CMSIS-NN.

    Counted kernels replayed line by line: 1.00 to 1.30 by where the inner loop lies, 1.07 in the
    mean.
    """
    graph = mcusim.load_model("resnet-20")
    share = {}
    for runtime, build in (("tflm", "gcc-mk"), ("cmsis-nn@2020", "gcc-Ofast")):
        f469, l496 = (
            sum(layer.cycles_by_cause.fetch for layer in found.layers) / found.cycles
            for name in ("disco-f469ni", "nucleo-l496zg")
            for found in [mcusim.estimate(graph, load_board(name), runtime, build)]
        )
        share[runtime] = f469 - l496
    assert share["tflm"] > 0.07
    assert 0 < share["cmsis-nn@2020"] < 0.04


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ({"arena": "flash"}, "arena lies in ram, not in 'flash'"),
        ({"weights": "sdrma"}, "disco-f746ng also has itcm, dtcm, sram1, sram2, qspi_flash, sdram"),
        ({"stack": "qspi_flash"}, "stack lies in ram, not in 'qspi_flash'"),
    ],
)
def test_what_lies_nowhere_is_told(place, sentence):
    with pytest.raises(InputError) as caught:
        mcusim.estimate(convolution(), load_board("disco-f746ng"), placement=place)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "[memory.sdram]\nlatenc_s = 1\n",
            "`memory.sdram.latenc_s` is not a key; did you mean `memory.sdram.latency_s`",
        ),
        ("[memory.sdram]\nburst_bytes = 4\n", "line 2: `memory.sdram.cached` is missing"),
        (
            "[flash.wait_states_below]\n'low' = [[16e6, 0]]\n",
            "line 3: `flash.wait_states_below.low` is not a voltage in V",
        ),
        (
            "[flash]\nicache_holds = 'branches'\n",
            "line 3: `flash.icache_holds` must be 'lines' or 'targets'",
        ),
        (
            "[core_overrides.cycles]\nload_wrd = 1\n",
            "line 3: `core_overrides.cycles.load_wrd` is not a key; "
            "did you mean `core_overrides.cycles.load_word`",
        ),
        (
            "[core_overrides]\nload_word = 1\n",
            "line 2: `core_overrides` must hold tables of a core's file",
        ),
    ],
)
def test_a_wrong_key_is_told_with_its_line(tmp_path, text, sentence):
    path = tmp_path / "mine.toml"
    path.write_text('base = "nucleo-l496zg"\n' + text)
    with pytest.raises(BoardError) as caught:
        load_board(path)
    assert sentence in str(caught.value)


def test_a_board_changes_its_core(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "nucleo-l496zg"\n[core_overrides.cycles]\nload_word = 1 # measured\n')
    mine, stated = load_board(path), load_board("nucleo-l496zg")
    assert mine.core.cycles.load_word == 1 < stated.core.cycles.load_word
    assert mine.core.cycles.load_byte == stated.core.cycles.load_byte
    assert mcusim.boards.without_fpu(mine).core.cycles.load_word == 1
