"""Loop turns of CMSIS-NN's softmax, which skips inputs too far below the largest of their row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array
from mcusim.kernels.fixed_point import (
    multiply_by_quantized_multiplier,
    saturating_rounding_doubling_high_mul,
)

__all__ = ["SoftmaxRows", "softmax_s8_trips", "softmax_s16_trips"]

#: Fraction bits of a quarter of one in the difference's format, with five integer bits.
_QUARTER_BITS = 24
#: How far below the largest input the table of exponentials of int16 ends, scaled.
_TABLE_ENDS = 65535


@dataclass(frozen=True)
class SoftmaxRows:
    """What the loops depend on beside the data.

    Attributes:
        rows: of the input.
        depth: elements of a row.
        multiplier: of the differences, after the shift to the left.
        shift: of the differences to the left.
        least_difference: below the largest of its row; an input beyond is skipped.
    """

    rows: int
    depth: int
    multiplier: int
    shift: int
    least_difference: int


def softmax_s8_trips(
    softmax: SoftmaxRows, x: Array | None, wraps: bool = False
) -> dict[str, float]:
    """Turns of ``arm_nn_softmax_common_s8``, which GCC 12.2 runs with MVE, too.

    Args:
        softmax: shape and scaling.
        x: the input, int8, or None for typical data: each value equally likely.
        wraps: differences are int8, as in 2020.

    Returns:
        Turns by level: rows, elements, and their two exponentials by what they are taken of: the
        ``largest`` of a row, a ``lower`` input for which the polynomial has an argument of either
        sign, or one too ``far`` below, which has none.
    """
    rows, depth = softmax.rows, softmax.depth
    largest, lower, of_negative = (
        _typical(softmax, wraps) if x is None else _counted(softmax, x.reshape(rows, depth), wraps)
    )
    return {
        "call": 1,
        "row": rows,
        "row.longer": rows * (depth > 1),
        "element": rows * depth,
        "largest": largest,
        "lower.positive": lower - of_negative,
        "lower.negative": of_negative,
        "far": rows * depth - largest - lower,
    }


def _counted(softmax: SoftmaxRows, x: Array, wraps: bool) -> tuple[float, float, float]:
    """Inputs as large as the largest, others near enough, those of them of a negative argument."""
    values = x.astype(np.int64)
    below = values.max(axis=1, keepdims=True) - values
    if wraps:
        below = -(-below).astype(np.int8).astype(np.int64)
    near = below[below <= -softmax.least_difference]
    of_zero, of_negative = (
        float(kind[near].sum()) for kind in _arguments(softmax.multiplier, softmax.shift)
    )
    return of_zero, float(near.size) - of_zero, of_negative


def _typical(softmax: SoftmaxRows, wraps: bool) -> tuple[float, float, float]:
    """The same, expected of values that are all as likely."""
    rows, depth = softmax.rows, softmax.depth
    # Of several values as large as the largest there are few in short rows; what is below is
    # spread over the typical range of a row.
    every = np.arange(1, 257) / 256
    largest = rows * depth / 256 * float((every ** (depth - 1)).sum())
    below = np.arange(1, round(255 * depth / (depth + 1)) + 1)
    if wraps:
        below = -(-below).astype(np.int8).astype(np.int64)
    near = below[below <= -softmax.least_difference]
    each = (rows * depth - largest) / below.size
    _, negative = _arguments(softmax.multiplier, softmax.shift)
    return largest, each * near.size, each * float(negative[near].sum())


@cache
def _arguments(multiplier: int, shift: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """By difference to the largest, from 0 to 255 and from -128 to -1: whether it is scaled to
    zero, and whether the polynomial of exp has a negative argument otherwise.
    """
    below = np.concatenate([np.arange(256), np.arange(-128, 0)])
    scaled = (-below << shift).astype(np.int32)
    raw = saturating_rounding_doubling_high_mul(scaled, np.int32(multiplier)).astype(np.int64)
    is_zero: npt.NDArray[np.bool_] = raw == 0
    lower_half = (raw & ((1 << _QUARTER_BITS) - 1)) < 1 << (_QUARTER_BITS - 1)
    return is_zero, lower_half & ~is_zero


def softmax_s16_trips(
    rows: int, depth: int, scaling: tuple[int, int], x: Array | None
) -> dict[str, float]:
    """Turns of ``arm_softmax_s16``, which looks exponentials up in a table.

    Args:
        rows: of the input.
        depth: elements of a row.
        scaling: of the differences to the largest of a row, multiplier and shift; differences are
            rounded where the shift is not to the left.
        x: the input, int16, or None for typical data: each value equally likely.

    Returns:
        Turns by level: rows, those of a single element, elements compared with the largest so far
        by what is found, elements by how they are scaled, and those so ``far`` below the largest
        that the table ends before them.
    """
    larger, far = _typical_s16(depth, scaling) if x is None else _counted_s16(x, depth, scaling)
    is_left = scaling[1] > 0
    elements = rows * depth
    return {
        "call": 1,
        "row": rows,
        "row.single": rows * (depth == 1),
        "compared.larger": rows * larger,
        "compared.lower": rows * (depth - 1 - larger),
        "element.left_shift": elements if is_left else 0,
        "element.right_shift": 0 if is_left else elements,
        "far": rows * far,
    }


def _counted_s16(x: Array, depth: int, scaling: tuple[int, int]) -> tuple[float, float]:
    """In the mean of a row, inputs larger than all before them, and those beyond the table."""
    values = x.reshape(-1, depth).astype(np.int32)
    largest = np.maximum.accumulate(values, axis=1)
    larger = float((largest[:, 1:] > largest[:, :-1]).sum())
    scaled = multiply_by_quantized_multiplier(values - largest[:, -1:], *scaling)
    far = float((scaled < -_TABLE_ENDS).sum())
    return larger / len(values), far / len(values)


def _typical_s16(depth: int, scaling: tuple[int, int]) -> tuple[float, float]:
    """The same, expected of values that are all as likely."""
    larger = float((1.0 / np.arange(2, depth + 1)).sum())
    if depth == 1:
        return larger, 0.0
    # Share of the range of int16; the others of a row are spread evenly up to its largest.
    ends = min(1.0, _TABLE_ENDS / (scaling[0] * 2.0 ** (scaling[1] - 31)) / 65535)
    beyond = 1.0 - ends**depth - depth * ends * (1.0 - ends ** (depth - 1)) / (depth - 1)
    return larger, (depth - 1) * beyond
