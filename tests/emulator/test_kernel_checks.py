"""``mcusim kernels check``: builds that are right, and errors put in on purpose."""

from __future__ import annotations

import importlib.util
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("unicorn")

from mcusim.calibration.bench_build import Compiler
from mcusim.calibration.device_calls import FUNCTIONS as OF_DEVICE
from mcusim.cli.kernels import check
from mcusim.emulator.checks.cases import DRAWN, drawn_cases
from mcusim.emulator.checks.checking import FUNCTIONS, check_function
from mcusim.emulator.checks.library_check import LibraryCheck
from mcusim.emulator.checks.outcomes import Bits, CaseCheck, FunctionCheck, Verdict
from mcusim.emulator.checks.prices import predicted
from mcusim.emulator.images import Symbol, load_image
from mcusim.errors import InputError
from mcusim.kernels.reference import KERNELS as REFERENCE
from tests.device.thumb import firmware_path
from tests.emulator.thumb import BASE, STACK, board, halfwords, program

SOURCE = Path(__file__).parent / "faulty_library.c"
SCRIPT = """
ENTRY(reset_handler)
SECTIONS { . = 0x8000; .text : { KEEP(*(.text .text.*)) *(.rodata .rodata.*) } }
"""
needs_zig = pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="needs ziglang")
#: ldr r1, [sp, #8]; movs r0, #0; str r0, [r1]; bx lr: four bytes of the output, the seventh
#: argument, become zero.
FOUR_ZEROS = halfwords(0x9902, 0x2000, 0x6008, 0x4770)


def run(*arguments: str) -> tuple[int, str]:
    """Exit code and output of the command."""
    result = CliRunner().invoke(check, arguments, standalone_mode=False, catch_exceptions=False)
    return int(result.return_value), result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where libraries are built, once."""
    return tmp_path_factory.mktemp("libraries")


def library(folder: Path, error: str, *flags: str) -> str:
    """The path of a library with an error in it."""
    path = folder / f"{error}{''.join(flags)}.elf"
    if not path.exists():
        script = folder / "link.ld"
        script.write_text(SCRIPT)
        compiler = Compiler.zig()
        command = (
            *compiler.command,
            *compiler.target("m4"),
            *("-std=c11", "-O1", "-ffreestanding", "-nostdlib", "-Wl,-z,max-page-size=4096"),
            *(flags or ("-g0",)),
            *(f"-DERROR={error}", str(SOURCE), f"-T{script}", "-o", str(path)),
        )
        subprocess.run(command, check=True, capture_output=True)
    return str(path)


@pytest.mark.parametrize("kind", sorted(DRAWN))
def test_what_is_drawn_is_what_tflite_micro_takes_and_always_the_same(kind: str) -> None:
    first, again = drawn_cases(kind, "m4"), drawn_cases(kind, "m4")
    for _ in range(4):
        case, other = next(first), next(again)
        REFERENCE[case.node.name].check(case.node)
        assert case.label == other.label
        np.testing.assert_array_equal(case.expected, other.expected)


def test_every_kind_of_layer_is_some_functions() -> None:
    assert {function.cases for function in FUNCTIONS} == set(DRAWN)


@pytest.mark.parametrize("core", ["m0plus", "m4", "m33"])
def test_the_shipped_kernels_are_equal(core: str) -> None:
    code, said = run(str(firmware_path(core)), "--cases", "4")
    assert code == 0
    assert f"{len(OF_DEVICE)} functions, {4 * len(OF_DEVICE)} calls: all equal" in said
    assert f"no profile of these functions was counted on {core}" in said


def test_layers_of_a_model_are_called_as_well() -> None:
    path = str(firmware_path("m4"))
    _, drawn = run(path, "--cases", "1", "--function", "mcusim_average_pool_s8")
    _, more = run(path, "--cases", "1", "--function", "mcusim_average_pool_s8", "--model", "ds-cnn")
    assert "1 function, 1 calls" in drawn
    assert "1 function, 2 calls" in more


@needs_zig
def test_a_library_without_an_error_is_equal(folder: Path) -> None:
    code, said = run(library(folder, "NONE"))
    assert code == 0
    assert "2 functions, 32 calls: all equal" in said


@needs_zig
@pytest.mark.parametrize(
    ("error", "function", "what"),
    [
        ("ROUNDS_DOWN", "arm_elementwise_mul_s8", "differ, element [0, "),
        ("ROUNDS_ONCE", "arm_elementwise_mul_s8", "rounded once (CMSIS_NN_USE_SINGLE_ROUNDING)"),
        ("SWAPS_OFFSETS", "arm_elementwise_mul_s8", "differ, element [0, "),
        ("LEAVES_LAST", "arm_elementwise_mul_s8", "1 of 3 differ, element [0, 2]"),
        ("WRITES_MORE", "arm_elementwise_mul_s8", "writes behind its output"),
        ("CHANGES_INPUT", "arm_elementwise_mul_s8", "changes an input of "),
        ("REFUSES", "arm_elementwise_mul_s8", "returns -1 and computes nothing"),
        ("CRASHES", "arm_elementwise_mul_s8", "did not return: fault: write where nothing answers"),
        ("SWAPS_STRIDES", "arm_max_pool_s8", "differ, element [0, "),
        ("OTHER_ARGUMENTS", "arm_max_pool_s8", "when its arguments are others than those of CMSIS"),
    ],
)
def test_an_error_is_found_and_named(folder: Path, error: str, function: str, what: str) -> None:
    code, said = run(library(folder, error), "--cases", "40")
    if error == "ROUNDS_ONCE":  # a build of its own, not an error: everything rounds so
        assert (code, "all equal, rounded once" in said) == (0, True)
        return
    assert code == 1
    lines = [line for line in said.splitlines() if line.startswith(function)]
    assert any(what in line for line in lines), said
    assert f"1 of 2 functions not equal: {function}" in said


@needs_zig
def test_what_wrong_layers_have_in_common_is_told(folder: Path) -> None:
    _, said = run(library(folder, "SWAPS_STRIDES"), "--cases", "40")
    assert "arm_max_pool_s8: all wrong layers have two strides that differ, " in said


@needs_zig
def test_a_build_that_was_told_to_round_twice_must(folder: Path) -> None:
    code, said = run(library(folder, "ROUNDS_ONCE"), "--build", "gcc-O3", "--cases", "40")
    assert code == 1
    assert "as if it rounded once" in said


@needs_zig
def test_debug_information_tells_arguments(folder: Path) -> None:
    code, said = run(library(folder, "OTHER_ARGUMENTS", "-g"))
    assert code == 1
    assert "has 4 parameters (rows, columns, input, output), not 7" in said
    code, said = run(library(folder, "NONE", "-g"))
    assert code == 0


def test_a_function_is_called_with_the_librarys_arguments() -> None:
    """Of arm_avgpool_s8 the output is the seventh argument: the third word on the stack."""
    image = program(FOUR_ZEROS, Symbol(BASE, 8, "arm_avgpool_s8", "function"))
    (function,) = (f for f in FUNCTIONS if f.name == "arm_avgpool_s8")
    found = check_function(image, board(), function, count=4)
    assert found is not None
    assert {case.executed for case in found.cases} == {4}
    for case, drawn in zip(found.cases, drawn_cases(function.cases, "m4"), strict=False):
        left = drawn.unwritten().ravel()
        left[: min(4, left.size)] = 0
        assert case.bits.differing == np.count_nonzero(left != drawn.expected.ravel())


def case_of(right: bool, once: bool | None) -> CaseCheck:
    """A case that is right or not, rounding twice, and rounding once."""
    other = None if once is None else Bits(0 if once else 1)
    return CaseCheck("case", 10, Bits(0 if right else 1), other)


@pytest.mark.parametrize(
    ("others", "rounds_once"), [([], True), ([(True, None)], True), ([(True, False)], False)]
)
def test_one_function_that_rounds_once_alone_is_wrong(
    others: Sequence[tuple[bool, bool | None]], rounds_once: bool
) -> None:
    checks = [FunctionCheck("f", "", (case_of(False, True), case_of(True, None)))]
    checks.append(FunctionCheck("g", "", tuple(case_of(*other) for other in others)))
    result = LibraryCheck.of(checks)
    assert result.rounds_once is rounds_once
    assert (result.functions[0].verdict is Verdict.EQUAL) is rounds_once


def test_the_closest_build_is_the_one_with_the_least_errors() -> None:
    counted = replace(
        case_of(True, None), executed=10_000, predicted={"gcc-O3": 10_100.0, "gcc-Os": 15_000.0}
    )
    result = LibraryCheck.of([FunctionCheck("f", "", (counted,))])
    assert (result.build, result.is_guessed) == ("gcc-O3", True)
    assert result.median_error == pytest.approx(0.01)
    assert not result.off(0.05)
    told = LibraryCheck.of([FunctionCheck("f", "", (counted,))], "gcc-Os")
    assert [error for _, error in told.off(0.05)] == pytest.approx([0.5])


def test_profiles_price_a_function_without_what_calls_it() -> None:
    case = next(drawn_cases("FULLY_CONNECTED int8, one scale", "m4"))
    inner = predicted(case, "arm_fully_connected_s8", "m4", "gcc-O3")
    outer = predicted(case, "arm_fully_connected_wrapper_s8", "m4", "gcc-O3")
    assert inner is not None
    assert outer is not None
    assert 0 < outer - inner < 100


def hex_file(path: Path, data: bytes) -> str:
    record = bytes([len(data), 0, 0, 0]) + data
    line = ":" + (record + bytes([-sum(record) & 0xFF])).hex().upper()
    path.write_text(f"{line}\n:00000001FF\n")
    return str(path)


def test_an_image_without_a_kernel_is_a_sentence(tmp_path: Path) -> None:
    path = hex_file(tmp_path / "image.hex", struct.pack("<II", STACK, BASE | 1))
    with pytest.raises(InputError, match="has no symbols: it was stripped"):
        run(path, "--board", "nrf52840-dk")
    with pytest.raises(InputError, match="Unicorn has no cortex-m55"):
        run(str(firmware_path("m4")), "--board", "apollo510-evb")
    with pytest.raises(InputError, match="has no symbol of arm_pad_s8"):
        run(str(firmware_path("m4")), "--function", "arm_pad_s8")
    with pytest.raises(InputError, match="arm_pad is no function that can be checked"):
        run(str(firmware_path("m4")), "--function", "arm_pad")
    with pytest.raises(InputError, match="build 'gcc' was not counted"):
        run(str(firmware_path("m4")), "--build", "gcc")


@needs_zig
def test_firmware_of_tflite_micro_is_told_how_to_compare(folder: Path) -> None:
    source = folder / "tflm.cc"
    source.write_text("namespace tflite { int Eval() { return 1; } } int main() {}")
    path = folder / "tflm.elf"
    compiler = Compiler.zig()
    script = folder / "link.ld"
    script.write_text(SCRIPT)
    command = [*compiler.command[:-1], "c++", *compiler.target("m4"), "-ffreestanding"]
    command += ["-nostdlib", str(source), f"-T{script}", "-Wl,--entry=main", "-o", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(InputError, match="--runtime tflm --compare"):
        run(str(path))


def test_the_core_is_read_from_the_elf() -> None:
    from mcusim.emulator.checks.machines import board_of

    for core in ("m0plus", "m4", "m33"):
        path = firmware_path(core)
        assert board_of(path, load_image(path)).core.profile == core
