"""``mcusim kernels check`` on images that hold functions by the library's names."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("unicorn")

from mcusim.cli.kernels import check
from mcusim.emulator.images import Symbol
from mcusim.emulator.kernel_checks import check_kernels
from mcusim.errors import InputError
from mcusim.interpreter import run
from tests.emulator.thumb import BASE, STACK, halfwords, machine_with
from tests.small_models import pooling

#: ldr r1, [sp, #8]; movs r0, #0; str r0, [r1]; bx lr: four bytes of the output, the seventh
#: argument, become zero.
_FOUR_ZEROS = halfwords(0x9902, 0x2000, 0x6008, 0x4770)


def test_a_function_is_called_with_the_librarys_arguments() -> None:
    """Of arm_avgpool_s8 the output is the seventh argument: the third word on the stack."""
    graph = pooling()
    machine = machine_with(_FOUR_ZEROS, "m4", Symbol(BASE, 8, "arm_avgpool_s8", "function"))
    (found,) = check_kernels(machine, graph, seed=3)
    inputs = np.random.default_rng(3).integers(-128, 128, (1, 8, 8, 4)).astype(np.int8)
    expected = run(graph, [inputs], runtime="cmsis-nn").outputs[0]
    assert found.function == "arm_avgpool_s8"
    assert found.executed == 4
    assert found.values == expected.size
    # The stub leaves the zeros that the output began with.
    assert found.differing == np.count_nonzero(expected)
    assert found.predicted is not None
    assert found.predicted > 1000


def test_functions_that_are_not_there_are_passed_over() -> None:
    machine = machine_with(_FOUR_ZEROS, "m4", Symbol(BASE, 8, "arm_softmax_s8", "function"))
    assert list(check_kernels(machine, pooling())) == []


def test_an_image_without_the_library_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "image.hex"
    data = struct.pack("<II", STACK, BASE | 1)
    record = bytes([len(data), 0, 0, 0]) + data
    line = ":" + (record + bytes([-sum(record) & 0xFF])).hex().upper()
    path.write_text(f"{line}\n:00000001FF\n")
    with pytest.raises(InputError, match="no symbols of CMSIS-NN"):
        CliRunner().invoke(
            check,
            [str(path), "--board", "nrf52840-dk", "--model", "ds-cnn"],
            standalone_mode=False,
            catch_exceptions=False,
        )
