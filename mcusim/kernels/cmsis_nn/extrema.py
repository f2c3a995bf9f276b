"""MAXIMUM and MINIMUM of int8 as CMSIS-NN computes them, with its own loops over two shapes.

Those of other types go to TFLM's reference kernel, which is compiled anew in the file of the glue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array, DType, Node
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.contract import Configuration, LibraryKernel, profile_name
from mcusim.kernels.contract import BoundKernel, KernelCall
from mcusim.kernels.reference import KERNELS as REFERENCE
from mcusim.kernels.reference.checks import refuse

__all__ = ["KERNELS", "Run", "extrema_mirror", "extrema_trips", "runs"]

Dims: TypeAlias = tuple[int, int, int, int]
Indices: TypeAlias = npt.NDArray[np.intp]

_MVE_LANES = 16
#: The two functions are one piece of code but for the comparison.
_PROFILE = "arm_maximum_s8"
_GLUE = {"MAXIMUM": "EvalMaximum", "MINIMUM": "EvalMinimum"}


@dataclass(frozen=True)
class Run:
    """One of the library's inner loops.

    Attributes:
        kind: ``"both"`` advances through both operands, ``"scalar"`` repeats one element.
        length: elements.
        first: where the first operand begins.
        second: where the second begins.
        repeats: which of them stays, 0 or 1; -1 for none.
    """

    kind: Literal["both", "scalar"]
    length: int
    first: int
    second: int
    repeats: int = -1


def _both(length: int, first: int, second: int) -> Run:
    return Run("both", length, first, second)


def _scalar(length: int, first: int, second: int, repeats: int) -> Run:
    return Run("scalar", length, first, second, repeats)


def runs(one: Dims, other: Dims, output: Dims, turns: Counter[str] | None = None) -> Iterator[Run]:
    """The inner loops in order, pointers advanced as the library advances them.

    Args:
        one: dimensions of the first operand.
        other: of the second.
        output: of the output.
        turns: counts the loops around, when given.

    Source: ``arm_maximum_s8`` and ``arm_minimum_s8``.
    """
    counted = Counter[str]() if turns is None else turns
    size, other_size = int(np.prod(one)), int(np.prod(other))
    if one == other:
        yield _both(size, 0, 0)
    elif size == 1:
        yield _scalar(other_size, 0, 0, 0)
    elif other_size == 1:
        yield _scalar(size, 0, 0, 1)
    else:
        yield from _by_batch(one, other, output, counted)


def _by_batch(one: Dims, other: Dims, output: Dims, turns: Counter[str]) -> Iterator[Run]:
    base = other_base = 0
    plane, other_plane = int(np.prod(one[1:])), int(np.prod(other[1:]))
    for _ in range(output[0]):
        turns["batch"] += 1
        if one[1:] == other[1:]:
            yield _both(plane, base, other_base)
        elif plane == 1:
            yield _scalar(other_plane, base, other_base, 0)
        elif other_plane == 1:
            yield _scalar(plane, base, other_base, 1)
        else:
            yield from _by_row(one, other, output, (base, other_base), turns)
        base += plane if one[0] >= other[0] else 0
        other_base += other_plane if other[0] >= one[0] else 0


def _by_row(
    one: Dims, other: Dims, output: Dims, start: tuple[int, int], turns: Counter[str]
) -> Iterator[Run]:
    at, other_at = start
    row, other_row = one[2] * one[3], other[2] * other[3]
    step, other_step = _row_step(one, other), _row_step(other, one)
    for _ in range(output[1]):
        turns["row"] += 1
        if one[2:] == other[2:]:
            yield _both(row, at, other_at)
            at, other_at = at + row, other_at + row
        elif row == 1:
            yield _scalar(other_row, at, other_at, 0)
            at, other_at = at + 1, other_at + other_row
        elif other_row == 1:
            yield _scalar(row, at, other_at, 1)
            at, other_at = at + row, other_at + 1
        else:
            for _ in range(output[2]):
                turns["pixel"] += 1
                depth, other_depth = one[3], other[3]
                if depth == other_depth:
                    yield _both(depth, at, other_at)
                elif depth == 1:
                    yield _scalar(other_depth, at, other_at, 0)
                else:
                    yield _scalar(depth, at, other_at, 1)
                at += depth - _pixel_step_back(one, other)
                other_at += other_depth - _pixel_step_back(other, one)
        at, other_at = at + step, other_at + other_step


def _pixel_step_back(own: Dims, other: Dims) -> int:
    """Elements that a pointer goes back after each pixel, for an operand of one column."""
    return 0 if own[2] >= other[2] else own[3]


def _row_step(own: Dims, other: Dims) -> int:
    """What is added to a pointer after each row: back to the row's beginning for one row."""
    back = _pixel_step_back(own, other)
    return back if own[1] >= other[1] else -own[2] * (own[3] - back)


def extrema_trips(one: Dims, other: Dims, output: Dims, simd: Simd) -> dict[str, float]:
    """Turns of the loops of ``arm_maximum_s8`` and ``arm_minimum_s8``."""
    turns: Counter[str] = Counter()
    trips = dict.fromkeys(
        ("call", "broadcast", "batch", "row", "pixel", "both", "both.element", "scalar"), 0.0
    ) | {"scalar.element": 0.0}
    trips |= {"call": 1.0, "broadcast": float(one != other)}
    for run in runs(one, other, output, turns):
        trips[run.kind] += 1
        steps = -(-run.length // _MVE_LANES) if simd == "mve" else run.length
        trips[f"{run.kind}.element"] += steps
    return trips | {name: float(count) for name, count in turns.items()}


def extrema_mirror(
    first: Array, second: Array, output: Dims, largest: bool
) -> tuple[Array, dict[str, float]]:
    """The library's loops, element by element, without SIMD.

    Args:
        first: int8, four dimensions.
        second: int8, four dimensions.
        output: dimensions of the output.
        largest: the maximum, not the minimum.

    Returns:
        The output and the turns of the loops.
    """
    turns: Counter[str] = Counter(call=1, broadcast=first.shape != second.shape)
    flat, other, found = first.ravel(), second.ravel(), []
    dims: tuple[Dims, Dims] = (_dims(first.shape), _dims(second.shape))
    for run in runs(*dims, output, turns):
        turns[run.kind] += 1
        for step in range(run.length):
            turns[f"{run.kind}.element"] += 1
            a = flat[run.first + (0 if run.repeats == 0 else step)]
            b = other[run.second + (0 if run.repeats == 1 else step)]
            found.append(max(a, b) if largest else min(a, b))
    return np.array(found, first.dtype).reshape(output), {k: float(v) for k, v in turns.items()}


def _dims(shape: tuple[int, ...]) -> Dims:
    """Dimensions with ones in front."""
    batch, height, width, channels = (1,) * (4 - len(shape)) + tuple(shape)
    return batch, height, width, channels


def _accepts(node: Node, configuration: Configuration) -> bool:
    """Only since 2026; more than four dimensions the glue does not take."""
    return (
        configuration.generation == "2026"
        and node.output().dtype is DType.INT8
        and max(len(t.shape) for t in (node.input(0), node.input(1), node.output())) <= 4
    )


def _shapes(node: Node) -> tuple[Dims, Dims, Dims]:
    return (
        _dims(node.input(0).shape),
        _dims(node.input(1).shape),
        _dims(node.output().shape),
    )


def _read_elements(node: Node) -> tuple[Indices, Indices]:
    """For each element of the output, the elements of both operands that the loops read."""
    firsts, seconds = [], []
    for run in runs(*_shapes(node)):
        steps = np.arange(run.length)
        firsts.append(np.full(run.length, run.first) if run.repeats == 0 else run.first + steps)
        seconds.append(np.full(run.length, run.second) if run.repeats == 1 else run.second + steps)
    return np.concatenate(firsts), np.concatenate(seconds)


def _broadcast_elements(node: Node) -> tuple[Indices, Indices]:
    """The same as broadcasting has it."""
    one, other, output = _shapes(node)
    return tuple(
        np.broadcast_to(np.arange(int(np.prod(dims))).reshape(dims), output).ravel()
        for dims in (one, other)
    )  # type: ignore[return-value]


def _goes_astray(node: Node) -> bool:
    """Whether the library's pointers leave the elements that broadcasting pairs."""
    read, wanted = _read_elements(node), _broadcast_elements(node)
    return not all(np.array_equal(a, b) for a, b in zip(read, wanted, strict=True))


def _bind(node: Node, configuration: Configuration) -> BoundKernel:
    bound = REFERENCE[node.name].bind(node)
    if not _goes_astray(node):
        return bound
    first, second = _read_elements(node)
    elements = node.output().elements
    inside = (
        len(first) == elements
        and 0 <= first.min() <= first.max() < node.input(0).elements
        and 0 <= second.min() <= second.max() < node.input(1).elements
    )
    if not inside:
        refuse(
            node,
            f"CMSIS-NN's loops over shapes {node.input(0).shape} and {node.input(1).shape} leave "
            "their tensors",
        )
    choose = np.maximum if node.name == "MAXIMUM" else np.minimum

    def run(inputs: list[Array]) -> list[Array]:
        flat, other = (array.reshape(len(array), -1) for array in inputs)
        found = choose(flat[:, first], other[:, second])
        return [found.reshape(len(found), *node.output().shape)]

    return run  # type: ignore[return-value]


def _calls(node: Node, configuration: Configuration) -> tuple[KernelCall, ...]:
    one, other, output = _shapes(node)
    function = f"arm_{node.name.lower()}_s8"
    how = "operands of one shape" if one == other else f"operands {one} and {other}"
    warnings: tuple[str, ...] = ()
    if one != other and _goes_astray(node):
        warnings = (f"{function} pairs other elements of these shapes than broadcasting does",)
    ranks = [len(t.shape) for t in (node.input(0), node.input(1), node.output())]
    return (
        KernelCall(
            function,
            profile_name(_PROFILE, configuration),
            extrema_trips(one, other, output, configuration.simd),
            reason=f"{how}: `{function}`",
            warnings=warnings,
        ),
        KernelCall(
            _GLUE[node.name],
            profile_name("glue_maximum", configuration),
            {
                "call": 1.0,
                "dimension": float(sum(ranks)),
                "dimension.missing": float(sum(4 - rank for rank in ranks)),
                "extended": float(sum(rank < 4 for rank in ranks)),
            },
        ),
    )


KERNELS: tuple[LibraryKernel, ...] = (
    LibraryKernel("MAXIMUM", _accepts, _bind, _calls),
    LibraryKernel("MINIMUM", _accepts, _bind, _calls),
)
