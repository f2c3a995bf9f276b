"""TRANSPOSE of int8 as CMSIS-NN computes it, and the glue in TFLM around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np

from mcusim.graph import Array, DType, Node
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.contract import (
    CaseCalls,
    Configuration,
    LibraryKernel,
    profile_name,
)
from mcusim.kernels.cmsis_nn.memory_calls import copies_call
from mcusim.kernels.contract import BoundKernel, KernelCall
from mcusim.kernels.reference import KERNELS as REFERENCE
from mcusim.kernels.reference.checks import int32_vector, require

__all__ = ["CASES", "KERNELS", "transpose_mirror", "transpose_trips"]

Shape: TypeAlias = tuple[int, ...]

_MVE_LANES = 8
#: The glue reads each dimension of input and output from a shape of its own.
_SHAPES = 8
_MAX_RANK = 4
#: The compiler copies longer rows by words where they stay rows; of seven elements, unless words
#: must be aligned.
_SEVEN = 7
_WORD = 4
_LOOPS = {3: ("", ".plane", ".row"), 4: ("", ".batch", ".plane", ".row")}
#: Rows of less than seven elements, of seven, and the longer ones by where they begin and by what
#: is left beside words.
_ROWS = (
    *(".byte", ".seven"),
    *(
        f".{b}{n}"
        for b in ("aligned", "odd")
        for n in ("", ".word", ".left_1", ".left_2", ".left_3")
    ),
)
_LEVELS = (
    *("call", "copied", "matrix", "matrix.row", "matrix.element", "element"),
    *(f"nest_{rank}{loop}" for rank in _LOOPS for loop in _LOOPS[rank]),
    *(f"kept_{rank}{loop}" for rank in _LOOPS for loop in (*_LOOPS[rank], *_ROWS)),
)


def _swaps_last(order: Sequence[int], simd: Simd) -> bool:
    """Whether the library exchanges the last two dimensions, whatever the order of those.

    It does for every matrix and, with MVE, for four dimensions of which the first two stay.
    """
    return len(order) == 2 or (simd == "mve" and len(order) == 4 and tuple(order[:2]) == (0, 1))


def _goes_astray(node: Node, simd: Simd) -> bool:
    """Whether the library visibly exchanges dimensions that the order leaves in place."""
    order = _order(node)
    kept = list(order) == sorted(order)
    return _swaps_last(order, simd) and kept and min(node.input(0).shape[-2:]) > 1


@dataclass(frozen=True)
class _Nest:
    """The library's four loops over the input.

    Attributes:
        rank: three or four; with three, the outermost loop is not there.
        shape: dimensions of the loops, a one in front of three.
        steps: how far a step of each goes in the output.
    """

    rank: int
    shape: tuple[int, int, int, int]
    steps: tuple[int, int, int, int]

    @classmethod
    def of(cls, shape: Shape, order: Sequence[int]) -> _Nest:
        output = [shape[axis] for axis in order]
        steps = [0] * len(shape)
        for position, axis in enumerate(order):
            steps[axis] = prod(output[position + 1 :])
        ahead = (4 - len(shape)) * (1,)
        return cls(len(shape), (*ahead, *shape), (*(0 for _ in ahead), *steps))  # type: ignore[arg-type]

    @property
    def keeps_rows(self) -> bool:
        """Whether a row of the input is one of the output: the compiler has a loop for each."""
        return self.steps[3] == 1

    @property
    def loops(self) -> str:
        """Begin of the levels of the outer loops."""
        return f"kept_{self.rank}" if self.keeps_rows else f"nest_{self.rank}"

    def aligned_rows(self) -> int:
        """Rows that begin at a whole word in both tensors."""
        n, h, w, length = self.shape
        source = np.arange(n * h * w).reshape(n, h, w) * length
        places = np.ogrid[:n, :h, :w]
        target = sum(place * step for place, step in zip(places, self.steps[:3], strict=True))
        return int(((source | target) % _WORD == 0).sum())


def transpose_trips(shape: Shape, order: Sequence[int], simd: Simd) -> dict[str, float]:
    """Turns of ``arm_transpose_s8``: a plain nest of loops over the input.

    A matrix is copied row by row, one element after the other; three and four dimensions in
    four loops. Where the innermost one goes through neighbours in the output, too, the compiler
    copies words: any on cores that read them anywhere, else those of rows that begin at a whole
    word in both tensors (``aligned``; the others are ``odd``). Three dimensions and four
    are loops of their own, each with a copy of the innermost one.
    """
    trips = dict.fromkeys(_LEVELS, 0.0)
    trips["call"] = 1.0
    if len(shape) == 1:
        trips["copied"] = 1.0
        return trips
    if _swaps_last(order, simd):
        rows, columns = shape[-2:]
        planes = prod(shape[:-2])
        steps = columns * -(-rows // _MVE_LANES) if simd == "mve" else rows * columns
        trips |= {
            "matrix": float(planes),
            "matrix.row": float(planes * (columns if simd == "mve" else rows)),
            "matrix.element": float(planes * steps),
        }
        return trips
    nest = _Nest.of(shape, order)
    n, h, w, length = nest.shape
    rows = n * h * w
    trips |= {
        nest.loops: 1.0,
        f"{nest.loops}.plane": float(n * h),
        f"{nest.loops}.row": float(rows),
    }
    if nest.rank == 4:
        trips[f"{nest.loops}.batch"] = float(n)
    if not nest.keeps_rows:
        trips["element"] = float(rows * length)
    elif length < _SEVEN:
        trips[f"{nest.loops}.byte"] = float(rows * length)
    elif length == _SEVEN:
        trips[f"{nest.loops}.seven"] = float(rows)
    else:
        aligned = nest.aligned_rows()
        for begin, count in (("aligned", aligned), ("odd", rows - aligned)):
            words, left = divmod(length, _WORD)
            trips[f"{nest.loops}.{begin}"] = float(count)
            trips[f"{nest.loops}.{begin}.word"] = float(count * words)
            if left:
                trips[f"{nest.loops}.{begin}.left_{left}"] = float(count)
    return trips


def transpose_mirror(
    x: Array, order: Sequence[int], output: Shape, simd: Simd
) -> tuple[Array, dict[str, float]]:
    """``arm_transpose_s8`` element by element, its defects included.

    Args:
        x: int8, up to four dimensions.
        order: which dimension of the input becomes which of the output.
        output: shape of the output.
        simd: of the core.

    Returns:
        The output and the turns of its loops.
    """
    trips = dict.fromkeys(_LEVELS, 0.0)
    trips["call"] = 1.0
    source, out = x.ravel(), np.zeros(prod(output), x.dtype)
    if x.ndim == 1:
        trips["copied"] = 1.0
        return x.copy(), trips
    if _swaps_last(order, simd):
        rows, columns = x.shape[-2:]
        for plane in range(x.size // (rows * columns)):
            trips["matrix"] += 1
            start = plane * rows * columns
            if simd == "mve":
                for column in range(columns):
                    trips["matrix.row"] += 1
                    for first in range(0, rows, _MVE_LANES):
                        trips["matrix.element"] += 1
                        for row in range(first, min(first + _MVE_LANES, rows)):
                            out[start + column * rows + row] = source[
                                start + row * columns + column
                            ]
                continue
            for row in range(rows):
                trips["matrix.row"] += 1
                for column in range(columns):
                    trips["matrix.element"] += 1
                    out[start + column * rows + row] = source[start + row * columns + column]
        return out.reshape(output), trips
    nest = _Nest.of(x.shape, order)
    (n, h, w, length), loops = nest.shape, nest.loops
    trips[loops] = 1.0
    read = 0
    for batch in range(n):
        if nest.rank == 4:
            trips[f"{loops}.batch"] += 1
        for y in range(h):
            trips[f"{loops}.plane"] += 1
            for column in range(w):
                trips[f"{loops}.row"] += 1
                at = batch * nest.steps[0] + y * nest.steps[1] + column * nest.steps[2]
                _mirror_row(nest, read, at, trips)
                for z in range(length):
                    out[at + z * nest.steps[3]] = source[read + z]
                read += length
    return out.reshape(output), trips


def _mirror_row(nest: _Nest, read: int, write: int, trips: dict[str, float]) -> None:
    """Turns of the innermost loop, by where a row begins in both tensors."""
    length = nest.shape[3]
    if not nest.keeps_rows:
        trips["element"] += length
    elif length < _SEVEN:
        trips[f"{nest.loops}.byte"] += length
    elif length == _SEVEN:
        trips[f"{nest.loops}.seven"] += 1
    else:
        level = f"{nest.loops}.{'odd' if read % _WORD or write % _WORD else 'aligned'}"
        words, left = divmod(length, _WORD)
        trips[level] += 1
        trips[f"{level}.word"] += words
        if left:
            trips[f"{level}.left_{left}"] += 1


CASES: dict[str, CaseCalls] = {}


def _accepts(node: Node, configuration: Configuration) -> bool:
    return configuration.generation == "2026" and node.input(0).dtype is DType.INT8


def _order(node: Node) -> list[int]:
    given = node.input(1).data
    return list(range(len(node.input(0).shape))) if given is None else int32_vector(given)


def _require_rank(node: Node) -> None:
    rank = len(node.input(0).shape)
    require(rank <= _MAX_RANK, node, f"the input has {rank} dimensions, CMSIS-NN takes 4")


def _bind(node: Node, configuration: Configuration) -> BoundKernel:
    _require_rank(node)
    bound = REFERENCE[node.name].bind(node)
    if not _goes_astray(node, configuration.simd):
        return bound

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        x = inputs[0]
        assert x is not None
        swapped = np.ascontiguousarray(np.swapaxes(x, -1, -2))
        return [swapped.reshape(x.shape)]

    return run


def _calls(node: Node, configuration: Configuration) -> tuple[KernelCall, ...]:
    _require_rank(node)
    shape, order = node.input(0).shape, _order(node)
    warnings: tuple[str, ...] = ()
    if _goes_astray(node, configuration.simd):
        warnings = (
            "arm_transpose_s8 exchanges the last two dimensions although the order keeps them: "
            "wrong outputs",
        )
    how = "rows to columns" if _swaps_last(order, configuration.simd) else "element by element"
    call = KernelCall(
        "arm_transpose_s8",
        profile_name("arm_transpose_s8", configuration),
        transpose_trips(shape, order, configuration.simd),
        reason=f"int8, {how}: `arm_transpose_s8`",
        warnings=warnings,
    )
    glue = KernelCall("TransposeEval", profile_name("glue_transpose", configuration), {"call": 1})
    return call, copies_call({(4 * len(shape), 0, 0): _SHAPES}, configuration), glue


KERNELS: tuple[LibraryKernel, ...] = (LibraryKernel("TRANSPOSE", _accepts, _bind, _calls),)
