"""Sums and products of quantized elements as CMSIS-NN computes them, and the branches they take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array, DType, Node, Tensor
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.contract import LibraryCase
from mcusim.kernels.fixed_point import (
    Int32Array,
    activation_range_quantized,
    multiply_by_quantized_multiplier,
    multiply_by_quantized_multiplier_once,
    quantize_multiplier,
    quantize_multiplier_smaller_than_one,
    saturating_rounding_doubling_high_mul,
)

__all__ = [
    "Branches",
    "Flags",
    "Product",
    "Scale",
    "Sum",
    "elementwise_mirror",
    "operands_of",
    "product_of",
    "product_of_case",
    "sum_of",
    "sum_of_case",
    "typical_operands",
]

#: Operands that stand for all that are equally likely: this many of each.
_TYPICAL = 64
#: Elements of an MVE vector of int32.
_LANES = 4


Flags: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Branches:
    """Of which elements conditions hold, each an array of the elements.

    Attributes:
        scaled: by requantization, whether it makes a negative number, rounds up, and carries
            between the halves of words.
        low: beneath the least result.
        high: above the largest.
    """

    scaled: Mapping[str, tuple[Flags, Flags, Flags]]
    low: Flags
    high: Flags


@dataclass(frozen=True)
class Scale:
    """``multiplier * 2**(shift - 31)``; the shift is positive to the left."""

    multiplier: int
    shift: int

    def scaled(self, values: Array, once: bool) -> Int32Array:
        """``arm_nn_requantize`` of int32 values, rounding twice, or once as that build does."""
        function = (
            multiply_by_quantized_multiplier_once if once else multiply_by_quantized_multiplier
        )
        return function(values, self.multiplier, self.shift)

    def branches(self, values: Array) -> tuple[Flags, Flags, Flags]:
        """Which values come out negative, which are rounded up, and in the product of which with
        the multiplier the halves of words carry, as a core sees that has no long multiplication.
        """
        shifted = (values.astype(np.int64) << max(self.shift, 0)).astype(np.int32)
        x, y = shifted.view(np.uint32).astype(np.int64), self.multiplier
        x_low, x_high, y_low, y_high = x & 0xFFFF, x >> 16, y & 0xFFFF, y >> 16
        cross = x_low * y_high + x_high * y_low + (x_low * y_low >> 16)
        high = saturating_rounding_doubling_high_mul(shifted, self.multiplier).astype(np.int64)
        mask = (1 << max(-self.shift, 0)) - 1
        up = (high & mask) > (mask >> 1) + (high < 0)
        return high < 0, up, cross >> 32 > 0


@dataclass(frozen=True)
class Sum:
    """The arithmetic of ``arm_elementwise_add_s8`` and ``arm_elementwise_add_s16``.

    Attributes:
        left_shift: bits that the common scale is finer by.
        offsets: added to the operands.
        operands: bring them to the common scale.
        output: brings the sum to the output's.
        output_offset: added then.
        limits: least and largest result.
    """

    left_shift: int
    offsets: tuple[int, int]
    operands: tuple[Scale, Scale]
    output: Scale
    output_offset: int
    limits: tuple[int, int]

    @property
    def shifts(self) -> tuple[int, ...]:
        """Of the requantizations of an element, positive to the left."""
        return tuple(scale.shift for scale in (*self.operands, self.output))

    def _centred(self, values: Array, position: int) -> Int32Array:
        shifted = (values.astype(np.int64) + self.offsets[position]) << self.left_shift
        return shifted.astype(np.int32)

    def _raw(self, first: Array, second: Array, once: bool) -> Int32Array:
        one, other = self.operands
        a = one.scaled(self._centred(first, 0), once).astype(np.int64)
        b = other.scaled(self._centred(second, 1), once)
        return (a + b).astype(np.int32)

    def results(self, first: Array, second: Array, once: bool = False) -> Array:
        """Stored sums, in an integer type wide enough.

        Args:
            first: int8 or int16, broadcast against ``second``.
            second: of the same type.
            once: round once, as with ``CMSIS_NN_USE_SINGLE_ROUNDING``.
        """
        scaled = self.output.scaled(self._raw(first, second, once), once)
        return np.clip(scaled.astype(np.int64) + self.output_offset, *self.limits)

    def branches(self, first: Array, second: Array) -> Branches:
        """Of which elements conditions hold on which the compiled code may branch."""
        raw = self._raw(first, second, False)
        found = {
            "first": self.operands[0].branches(self._centred(first, 0)),
            "second": self.operands[1].branches(self._centred(second, 1)),
            "result": self.output.branches(raw),
        }
        scaled = self.output.scaled(raw, False).astype(np.int64) + self.output_offset
        return Branches(found, scaled < self.limits[0], scaled > self.limits[1])


@dataclass(frozen=True)
class Product:
    """The arithmetic of ``arm_elementwise_mul_s8`` and ``arm_elementwise_mul_s16``.

    Attributes:
        offsets: added to the operands.
        output: brings the product to the output's scale.
        output_offset: added then.
        limits: least and largest result.
    """

    offsets: tuple[int, int]
    output: Scale
    output_offset: int
    limits: tuple[int, int]

    @property
    def shifts(self) -> tuple[int, ...]:
        """Of the requantizations of an element, positive to the left."""
        return (self.output.shift,)

    def _raw(self, first: Array, second: Array) -> Int32Array:
        one, other = self.offsets
        product = (first.astype(np.int64) + one) * (second.astype(np.int64) + other)
        return product.astype(np.int32)

    def results(self, first: Array, second: Array, once: bool = False) -> Array:
        """Stored products; arguments as of :meth:`Sum.results`."""
        scaled = self.output.scaled(self._raw(first, second), once).astype(np.int64)
        return np.clip(scaled + self.output_offset, *self.limits)

    def branches(self, first: Array, second: Array) -> Branches:
        """As of :meth:`Sum.branches`."""
        raw = self._raw(first, second)
        scaled = self.output.scaled(raw, False).astype(np.int64) + self.output_offset
        return Branches(
            {"result": self.output.branches(raw)}, scaled < self.limits[0], scaled > self.limits[1]
        )


def typical_operands(dtype: DType) -> tuple[Array, Array]:
    """Pairs of stored values that stand for all that are equally likely, one dimension each."""
    return _paired(_typical(dtype), _typical(dtype))


def operands_of(first: Tensor, second: Tensor) -> tuple[Array, Array]:
    """Stored values of operands of one shape, one dimension each.

    Where one of them is not known, pairs of the other's with all that are equally likely.
    """
    if first.data is not None and second.data is not None:
        return first.data.ravel(), second.data.ravel()
    known = [None if t.data is None else _spread(t.data.ravel()) for t in (first, second)]
    one, other = (_typical(first.dtype) if values is None else values for values in known)
    return _paired(one, other)


def _typical(dtype: DType) -> Array:
    limits = np.iinfo(dtype.numpy)
    step = (int(limits.max) - int(limits.min) + 1) // _TYPICAL
    return np.arange(int(limits.min) + step // 2, int(limits.max) + 1, step)


def _spread(values: Array) -> Array:
    """A few of many values, taken at equal distances in their order of size."""
    ordered = np.sort(values)
    picked = np.linspace(0, len(ordered) - 1, min(_TYPICAL, len(ordered))).astype(np.intp)
    return ordered[picked]


def _paired(one: Array, other: Array) -> tuple[Array, Array]:
    first, second = np.meshgrid(one, other)
    return first.ravel(), second.ravel()


def sum_of(node: Node) -> Sum:
    """The arithmetic of an ADD, as TFLM's ``CalculateOpData`` prepares it."""
    first, second, output = node.input(0), node.input(1), node.output()
    left_shift = 15 if output.dtype is DType.INT16 else 20
    twice_max = 2 * max(first.scale, second.scale)
    scales = [
        Scale(*quantize_multiplier_smaller_than_one(real))
        for real in (
            first.scale / twice_max,
            second.scale / twice_max,
            twice_max / ((1 << left_shift) * output.scale),
        )
    ]
    return Sum(
        left_shift,
        (-first.zero_point, -second.zero_point),
        (scales[0], scales[1]),
        scales[2],
        output.zero_point,
        _activation_limits(node),
    )


def product_of(node: Node) -> Product:
    """The arithmetic of a MUL, as TFLM's ``CalculateOpDataMul`` prepares it."""
    first, second, output = node.input(0), node.input(1), node.output()
    return Product(
        (-first.zero_point, -second.zero_point),
        Scale(*quantize_multiplier(first.scale * second.scale / output.scale)),
        output.zero_point,
        _activation_limits(node),
    )


def sum_of_case(case: LibraryCase) -> Sum:
    """The arithmetic of a single call of ``arm_elementwise_add_s8``."""
    params = case.params
    low, high = params["act"]
    return Sum(
        params["left_shift"],
        (params["in1_off"], params["in2_off"]),
        (
            Scale(params["in1_mult"], params["in1_shift"]),
            Scale(params["in2_mult"], params["in2_shift"]),
        ),
        Scale(params["out_mult"], params["out_shift"]),
        params["out_off"],
        (low, high),
    )


def product_of_case(case: LibraryCase) -> Product:
    """The arithmetic of a single call of ``arm_elementwise_mul_s8``."""
    params = case.params
    low, high = params["act"]
    return Product(
        (params["in1_off"], params["in2_off"]),
        Scale(params["out_mult"], params["out_shift"]),
        params["out_off"],
        (low, high),
    )


def elementwise_mirror(
    arithmetic: Sum | Product, first: Array, second: Array, simd: Simd, once: bool = False
) -> tuple[Array, dict[str, float]]:
    """``arm_elementwise_add_s8`` and its like, in the order in which the library takes elements.

    Args:
        arithmetic: of the layer.
        first: int8 or int16, one dimension.
        second: of the same type and length.
        simd: of the core.
        once: round once, as with ``CMSIS_NN_USE_SINGLE_ROUNDING``.

    Returns:
        The output and the turns of the loops.
    """
    out = np.empty_like(first)
    int8 = first.dtype == np.int8
    turns: Counter[str] = Counter(call=1)

    def compute(*positions: int) -> None:
        for i in positions:
            a, b = first[i : i + 1], second[i : i + 1]
            out[i : i + 1] = arithmetic.results(a, b, once)

    at, size = 0, first.size
    if simd == "mve":
        while at < size:
            turns["vector"] += 1
            compute(*range(at, min(at + _LANES, size)))
            at += _LANES
    elif int8 and simd == "none":
        for at in range(size):
            turns["element"] += 1
            compute(at)
    else:
        # Four bytes are extended in pairs: the first and the third, then the second and the fourth.
        order = (0, 2, 1, 3) if int8 else (0, 1)
        turns["groups" if size >= len(order) else "groupless"] = 1
        while size - at >= len(order):
            turns["group"] += 1
            turns["next_group"] += at > 0
            compute(*(at + i for i in order))
            at += len(order)
        turns[f"left_{size - at}"] = 1
        for i in range(at, size):
            compute(i)
    return out, {name: float(count) for name, count in turns.items()}


def _activation_limits(node: Node) -> tuple[int, int]:
    output = node.output()
    activation = node.options.text("fused_activation_function", "NONE")
    return activation_range_quantized(activation, output.dtype, output.scale, output.zero_point)
