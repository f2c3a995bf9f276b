"""Counts the kernels of ``kernels/weight_formats/`` in the emulator.

``python -m mcusim.calibration.weight_format_counts`` compiles them with arm-none-eabi-gcc and
writes ``calibration/counted/weight_formats.csv.gz``, from which
:mod:`mcusim.calibration.runtime_profiles` fits their profiles.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mcusim.boards import load_board
from mcusim.emulator.arguments import Argument, Pointer, Struct
from mcusim.emulator.images import load_image
from mcusim.emulator.machine import Machine
from mcusim.experiments.code_book import CodeBook, code_book
from mcusim.instruction_mix import FIELDS
from mcusim.kernels.fixed_point import multiply_by_quantized_multiplier
from mcusim.resources import data_path

__all__ = ["counted_rows", "main", "unpacking_turns"]

_CORES = {"m4": ("cortex-m4", "nucleo-f429zi"), "m7": ("cortex-m7", "nucleo-f767zi")}
_BUILD = "gcc-O3"
_FLAGS = ("-O3", "-mthumb", "-mfloat-abi=soft", "-ffreestanding", "-nostdlib")
_LONGEST, _LOOKED_UP = 24, 8
_MULTIPLIER = 1_518_500_250
#: End of a RAM on both boards; the image has no vector table.
_STACK = 0x2002_0000
#: Pixels, filters and inputs of a product.
_SHAPES = (
    (1, 1, 9), (4, 8, 9), (16, 8, 16), (9, 4, 27), (4, 16, 48), (2, 3, 96), (6, 6, 32), (8, 5, 64),
    (1, 16, 112), (3, 7, 13), (5, 4, 30), (2, 9, 144), (12, 3, 7), (1, 4, 336),
)  # fmt: skip
#: Clusters and weights of a tensor to unpack.
_TENSORS = (
    (2, 300), (4, 64), (4, 700), (8, 400), (16, 200), (16, 900), (32, 600), (64, 300), (64, 1200),
    (128, 500), (256, 400), (256, 1500),
)  # fmt: skip

_Row = tuple[str, str, str, str, dict[str, int], dict[str, float]]


def unpacking_turns(book: CodeBook, by_table: bool) -> dict[str, int]:
    """How often each loop level of an unpacking kernel runs.

    Args:
        book: of the tensor.
        by_table: whether codes of up to eight bits are looked up at once.
    """
    if not by_table:
        return {"call": 1, "weight": book.weights, "bit": book.code_bits}
    long = book.lengths > _LOOKED_UP
    return {
        "call": 1,
        "weight": book.weights,
        "long_weight": int(book.counts[long].sum()),
        "bit": int((book.counts * book.lengths)[long].sum()),
    }


def counted_rows(core: str, folder: Path) -> Iterator[_Row]:
    """Every kernel on every shape, as one core executes it.

    Args:
        core: ``"m4"`` or ``"m7"``.
        folder: for the compiled file.
    """
    from unicorn import arm_const

    cpu, board = _CORES[core]
    source = data_path("kernels", "weight_formats", "weight_formats.c")
    target = folder / f"{core}.elf"
    place = "-Wl,-Ttext=0x08000100,-e,q7_products"
    command = ["arm-none-eabi-gcc", *_FLAGS, f"-mcpu={cpu}", place, "-o", target, source]
    subprocess.run([*map(str, command)], check=True)
    machine = Machine(load_image(target), load_board(board))
    machine.uc.reg_write(arm_const.UC_ARM_REG_SP, _STACK)
    random = np.random.default_rng(0)
    for shape in _SHAPES:
        yield from _products(machine, core, shape, random)
    for clusters, weights in _TENSORS:
        yield from _unpacking(machine, core, clusters, weights, random)


def _products(
    machine: Machine, core: str, shape: tuple[int, int, int], random: np.random.Generator
) -> Iterator[_Row]:
    pixels, filters, size = shape
    columns = random.integers(-128, 128, (pixels, size)).astype(np.int8)
    weights = random.integers(-128, 128, (filters, size)).astype(np.int8)
    bias = random.integers(-1000, 1000, filters).astype(np.int32)
    out = np.zeros((pixels, filters), np.int8)
    outputs = pixels * filters
    base = {"call": 1, "pixel": pixels, "output": outputs}
    plain = base | {"product": outputs * size}
    quads = base | {"quad": outputs * (size // 4), "product": outputs * (size % 4)}
    sums = columns.astype(np.int64) @ weights.T.astype(np.int64) + bias
    right = np.clip((sums + 256) >> 9, -128, 127).astype(np.int8)
    scale = Pointer(Struct.of(5, _MULTIPLIER, 9, -3))
    offsets = 5 * weights.astype(np.int64).sum(axis=1)
    affine = multiply_by_quantized_multiplier(sums + offsets, _MULTIPLIER, -9) - 3
    for name, last, turns in (
        ("q7_products", 9, plain),
        ("q7_products_simd", 9, quads),
        ("affine_products", scale, plain),
    ):
        given = (columns, weights, bias, out, pixels, filters, size, last)
        case = "-".join(map(str, shape))
        wanted = np.clip(affine, -128, 127) if last is scale else right
        found = _counts(machine, name, *given, out=out, wanted=wanted)
        yield (name, core, _BUILD, case, turns, found)


def _unpacking(
    machine: Machine, core: str, clusters: int, count: int, random: np.random.Generator
) -> Iterator[_Row]:
    drawn = np.clip(np.rint(random.normal(0, 30, count)), -128, 127).astype(np.int8)
    clustered, book = code_book(drawn, clusters)
    packed = np.frombuffer(book.packed(clustered) + b"\0\0", np.uint8)
    for name, by_table in (("unpack_bit_by_bit", False), ("unpack_by_table", True)):
        out = np.zeros(count, np.int8)
        counts = _counts(machine, name, _table(book), packed, out, count, out=out, wanted=clustered)
        case = f"{clusters}-{count}"
        yield (name, core, _BUILD, case, unpacking_turns(book, by_table), counts)


def _table(book: CodeBook) -> npt.NDArray[np.uint8]:
    """``code_book`` as the C source lays it out."""
    first = np.zeros(_LONGEST + 1, np.uint32)
    count, index = np.zeros(_LONGEST + 1, np.uint16), np.zeros(_LONGEST + 1, np.uint16)
    short = np.zeros((1 << _LOOKED_UP, 2), np.uint8)
    entries = zip(book.values, book.codes, book.lengths, strict=True)
    for position, (value, code, length) in enumerate(entries):
        if not count[length]:
            first[length], index[length] = code, position
        count[length] += 1
        if length <= _LOOKED_UP:
            rest = _LOOKED_UP - int(length)
            short[int(code) << rest : int(code) + 1 << rest] = (int(value) & 0xFF, int(length))
    values = np.zeros(256, np.int8)
    values[: len(book.values)] = book.values
    parts = (first, count, index, values, short)
    return np.frombuffer(b"".join(part.tobytes() for part in parts), np.uint8)


def _counts(
    machine: Machine,
    name: str,
    *arguments: Argument,
    out: npt.NDArray[np.int8],
    wanted: npt.NDArray[np.integer],
) -> dict[str, float]:
    result = machine.call(name, *arguments, returns=None)
    left = result.array_of(out)
    if left is None or not np.array_equal(left, wanted):
        raise AssertionError(f"{name} does not compute what it should")
    mix = result.instructions
    return {field: float(mix[field]) for field in FIELDS if mix[field]}


def main() -> int:
    """Count and write."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("kernel", "core", "build", "case", "turns", "counts"))
    with tempfile.TemporaryDirectory() as folder:
        for core in _CORES:
            for *names, turns, counts in counted_rows(core, Path(folder)):
                compact = (json.dumps(each, separators=(",", ":")) for each in (turns, counts))
                writer.writerow((*names, *compact))
    path = data_path("calibration", "counted") / "weight_formats.csv.gz"
    path.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))
    return 0


if __name__ == "__main__":
    sys.exit(main())
