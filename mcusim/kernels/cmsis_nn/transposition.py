"""TRANSPOSE of int8 as CMSIS-NN computes it, and the glue in TFLM around it."""

from __future__ import annotations

from collections.abc import Sequence
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
#: The compiler copies rows of at least so many bytes by words where both are aligned.
_WORDWISE_BYTES = 8


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


def transpose_trips(shape: Shape, order: Sequence[int], simd: Simd) -> dict[str, float]:
    """Turns of ``arm_transpose_s8``: a plain nest of loops over the input.

    A matrix is copied row by row, one element after the other; three and four dimensions in
    four loops, whose innermost one copies where the last dimension stays the last.
    """
    trips = dict.fromkeys(
        ("call", "copied", "matrix", "matrix.row", "matrix.element", "nest"), 0.0
    ) | dict.fromkeys(
        ("nest.plane", "nest.row", "nest.kept", "nest.single", "nest.word", "nest.element"), 0.0
    )
    trips["call"] = 1.0
    if len(shape) == 1:
        trips["copied"] = 1.0
        return trips
    if _swaps_last(order, simd):
        rows, columns = shape[-2:]
        planes = int(np.prod(shape[:-2]))
        steps = columns * -(-rows // _MVE_LANES) if simd == "mve" else rows * columns
        trips |= {
            "matrix": float(planes),
            "matrix.row": float(planes * (columns if simd == "mve" else rows)),
            "matrix.element": float(planes * steps),
        }
        return trips
    four = (1,) * (4 - len(shape)) + tuple(shape)
    rows = four[0] * four[1] * four[2]
    wordwise = _copies_words(order, four[3])
    trips |= {
        "nest": 1.0,
        "nest.plane": float(four[0] * four[1]),
        "nest.row": float(rows),
        "nest.kept": float(rows) if order[-1] == len(order) - 1 else 0.0,
        "nest.single": float(rows) if four[3] == 1 else 0.0,
        "nest.word": float(rows * (four[3] // 4)) if wordwise else 0.0,
        "nest.element": 0.0 if wordwise else float(rows * four[3]),
    }
    return trips


def _copies_words(order: Sequence[int], length: int) -> bool:
    """Whether a row can be copied a word at a time; a build that does not has four elements."""
    return order[-1] == len(order) - 1 and length >= _WORDWISE_BYTES and length % 4 == 0


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
    trips = dict.fromkeys(transpose_trips(x.shape, order, simd), 0.0)
    trips["call"] = 1.0
    source, out = x.ravel(), np.zeros(int(np.prod(output)), x.dtype)
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
    strides = [0] * x.ndim
    for position, axis in enumerate(order):
        strides[axis] = int(np.prod(output[position + 1 :]))
    shape, steps = (1,) * (4 - x.ndim) + x.shape, [0] * (4 - x.ndim) + strides
    read = 0
    trips["nest"] = 1.0
    for n in range(shape[0]):
        for y in range(shape[1]):
            trips["nest.plane"] += 1
            for column in range(shape[2]):
                trips["nest.row"] += 1
                trips["nest.kept"] += order[-1] == len(order) - 1
                trips["nest.single"] += shape[3] == 1
                for z in range(shape[3]):
                    if not _copies_words(order, shape[3]):
                        trips["nest.element"] += 1
                    elif z % 4 == 0:
                        trips["nest.word"] += 1
                    at = n * steps[0] + y * steps[1] + column * steps[2] + z * steps[3]
                    out[at] = source[read]
                    read += 1
    return out.reshape(output), trips


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
