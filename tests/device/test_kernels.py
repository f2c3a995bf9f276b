"""The device kernels in C compute what mcusim's kernels compute, bit for bit."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcusim.boards import load_board
from mcusim.calibration.bench_build import Compiler, build_firmware
from mcusim.calibration.device_layers import Field
from mcusim.emulator.arguments import Argument, Pointer, Struct
from mcusim.emulator.firmware import power_on
from mcusim.emulator.machine import Machine
from mcusim.graph import Graph
from tests.device.host import COMPILER, run_on_host
from tests.device.layers import (
    additions,
    convolutions,
    deep_dense,
    dense,
    expected,
    pooling,
    poolings,
    prepared,
    softmaxes,
)
from tests.device.thumb import CORES, Firmware, firmware, firmware_path

ANY_LAYER = st.one_of(convolutions(), convolutions(), dense(), poolings(), additions(), softmaxes())
SEED = st.integers(0, 1 << 30)


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
@settings(max_examples=200)
@given(graph=ANY_LAYER, seed=SEED)
def test_plain_c_on_the_host(graph: Graph, seed: int) -> None:
    layer, inputs = prepared(graph, seed)
    wanted = expected(graph, inputs)
    np.testing.assert_array_equal(run_on_host(layer, inputs, wanted.size), wanted)


@pytest.mark.parametrize("core", CORES)
@settings(max_examples=120)
@given(graph=ANY_LAYER, seed=SEED)
def test_shipped_firmware_in_unicorn(core: str, graph: Graph, seed: int) -> None:
    layer, inputs = prepared(graph, seed)
    wanted = expected(graph, inputs)
    np.testing.assert_array_equal(firmware(core).run(layer, inputs, wanted.size), wanted)


@cache
def on_board(core: str, board: str) -> Machine:
    """The shipped firmware on a simulated board."""
    return power_on(firmware_path(core), load_board(board))


def as_argument(fields: tuple[Field, ...]) -> Struct:
    """A structure as the emulator passes it; arrays are pointers."""
    members = (as_argument(f) if isinstance(f, tuple) else f for f in fields)
    return Struct.of(*members)


@pytest.mark.parametrize(
    ("core", "board"), [("m0plus", "nrf52840-dk"), ("m4", "nrf52840-dk"), ("m33", "nrf5340-dk")]
)
@settings(max_examples=25)
@given(graph=ANY_LAYER, seed=SEED)
def test_called_on_a_simulated_board(core: str, board: str, graph: Graph, seed: int) -> None:
    layer, inputs = prepared(graph, seed)
    wanted = expected(graph, inputs)
    arguments: list[Argument] = [Pointer(as_argument(layer.fields)), *inputs]
    if layer.weights is not None:
        arguments += [layer.weights, layer.bias]
    if layer.function == "mcusim_convolve_s8":
        arguments.append(np.zeros(layer.column_bytes, np.int8))
    output = np.zeros(wanted.size, np.int8)
    result = on_board(core, board).call(layer.function, *arguments, output, returns=None)
    np.testing.assert_array_equal(result.arrays[-1], wanted)
    assert result.instructions.total > wanted.size


GCC = shutil.which("arm-none-eabi-gcc")


@cache
def built_by_gcc(folder: str, core: str, plain: bool) -> Firmware:
    """The firmware as GCC builds it, loaded."""
    assert GCC is not None
    path = Path(folder) / f"{core}-{plain}.elf"
    build_firmware([], path, core=core, compiler=Compiler((GCC,), False), plain=plain)
    return Firmware.load(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where firmware is built, once."""
    return str(tmp_path_factory.mktemp("firmware"))


@pytest.mark.skipif(GCC is None, reason="needs arm-none-eabi-gcc")
@pytest.mark.parametrize(("core", "plain"), [("m4", False), ("m4", True), ("m0", False)])
@settings(max_examples=40)
@given(graph=ANY_LAYER, seed=SEED)
def test_built_by_gcc_in_unicorn(
    folder: str, core: str, plain: bool, graph: Graph, seed: int
) -> None:
    layer, inputs = prepared(graph, seed)
    wanted = expected(graph, inputs)
    found = built_by_gcc(folder, core, plain).run(layer, inputs, wanted.size)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("window", [(15, 17), (16, 16), (17, 19)])
@pytest.mark.parametrize("value", [-128, 127])
def test_average_of_more_than_halfwords_hold(
    core: str, window: tuple[int, int], value: int
) -> None:
    """Sums of 256 values of -128 and more leave 16 bits."""
    graph = pooling("AVERAGE_POOL_2D", window, 5)
    layer, _ = prepared(graph, 0)
    inputs = [np.full((1, *window, 5), value, np.int8)]
    found = firmware(core).run(layer, inputs, 5)
    np.testing.assert_array_equal(found, np.full(5, value, np.int8))


@pytest.mark.parametrize("core", CORES)
def test_extremes_of_a_deep_sum(core: str) -> None:
    """Products of 255 by 128, all of one sign, as far as a layer of 4,096 inputs goes."""
    graph = deep_dense()
    layer, _ = prepared(graph, 0)
    for value in (-128, 127):
        inputs = [np.full((1, 4096), value, np.int8)]
        wanted = expected(graph, inputs)
        np.testing.assert_array_equal(firmware(core).run(layer, inputs, wanted.size), wanted)
