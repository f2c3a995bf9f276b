"""AVERAGE_POOL_2D, MAX_POOL_2D and L2_POOL_2D."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array, DType, Node, Options
from mcusim.kernels.contract import BoundKernel, Kernel, KernelCall, Trips
from mcusim.kernels.fixed_point import activation_range, activation_range_quantized
from mcusim.kernels.reference.checks import (
    require,
    require_counts,
    require_same_type,
    supported,
)

__all__ = [
    "KERNELS",
    "Axis",
    "PoolTurns",
    "Pooling",
    "pooling_mirror",
    "trips",
    "typical_long_quotients",
]

#: Folds taps into what is folded so far: takes both, and where to write the result.
_Step: TypeAlias = Callable[[Array, Array, Array], object]


@dataclass(frozen=True)
class Axis:
    """Windows along the height or the width.

    Attributes:
        extent: elements of the input.
        windows: elements of the output.
        filter: elements of a window.
        stride: from one window to the next.
        padding: elements before the input.
    """

    extent: int
    windows: int
    filter: int
    stride: int
    padding: int

    @classmethod
    def of(cls, extent: int, windows: int, filter_: int, stride: int, same: bool) -> Axis:
        """Axis with the padding that the library computes.

        Source: ``ComputePaddingHeightWidth``.
        """
        outputs = -(-extent // stride) if same else -(-(extent - filter_ + 1) // stride)
        padding = max((outputs - 1) * stride + filter_ - extent, 0) // 2
        return cls(extent, windows, filter_, stride, padding)

    @cached_property
    def taps(self) -> tuple[int, ...]:
        """How many elements of each window lie inside the input."""
        origins = (window * self.stride - self.padding for window in range(self.windows))
        return tuple(max(min(self.filter, self.extent - o) - max(0, -o), 0) for o in origins)

    def slices(self) -> Iterator[tuple[slice, slice]]:
        """For each tap in turn: the windows that have it inside, and the inputs it reads."""
        # A damaged file may ask for a window of 2**31: only taps that some window has inside count.
        nearest = max(0, self.padding - (self.windows - 1) * self.stride)
        for tap in range(nearest, min(self.filter, self.extent + self.padding)):
            first = max(-((tap - self.padding) // self.stride), 0)
            last = min((self.extent - 1 + self.padding - tap) // self.stride, self.windows - 1)
            start = first * self.stride - self.padding + tap
            if last >= first:
                stop = last * self.stride - self.padding + tap + 1
                yield slice(first, last + 1), slice(start, stop, self.stride)


@dataclass(frozen=True)
class Pooling:
    """Shape of a pooling operator.

    Attributes:
        batches: of the input's own first dimension.
        channels: of input and output.
        height: windows from top to bottom.
        width: windows from left to right.
    """

    batches: int
    channels: int
    height: Axis
    width: Axis

    @classmethod
    def of(cls, node: Node) -> Pooling:
        """Shape of a node, refused where the library could not run it.

        Raises:
            UnsupportedOperatorError: the shapes are not those of a pooling.
        """
        source, output, options = node.input(0), node.output(), node.options
        for tensor, what in ((source, "input"), (output, "output")):
            require(
                len(tensor.shape) == 4,
                node,
                f"the {what} has {len(tensor.shape)} dimensions, not 4",
            )
        batches, rows, columns, channels = source.shape
        require(
            (output.shape[0], output.shape[3]) == (batches, channels),
            node,
            f"input {source.shape} and output {output.shape} differ in batches or channels",
        )
        for name in ("stride_h", "stride_w", "filter_height", "filter_width"):
            require(options.integer(name) > 0, node, f"{name} is {options.integer(name)}")
        same = options.text("padding", "SAME") == "SAME"
        return cls(
            batches,
            channels,
            _axis(options, rows, output.shape[1], "filter_height", "stride_h", same),
            _axis(options, columns, output.shape[2], "filter_width", "stride_w", same),
        )

    @property
    def windows(self) -> Iterator[int]:
        """How many elements of each window lie inside the input, over one channel of one batch."""
        return (rows * columns for rows in self.height.taps for columns in self.width.taps)

    @property
    def inside(self) -> npt.NDArray[np.int64]:
        """:attr:`windows` as an array, shape ``(1, 1, rows, columns, 1)``."""
        return np.outer(self.height.taps, self.width.taps)[np.newaxis, np.newaxis, :, :, np.newaxis]

    def reduce(self, x: Array, first: np.generic, step: _Step) -> Array:
        """Fold the taps of every window, in the library's order.

        Args:
            x: shape ``(inferences, batches, rows, columns, channels)``.
            first: value of an empty window.
            step: folds taps into what is folded so far.
        """
        shape = (*x.shape[:2], self.height.windows, self.width.windows, self.channels)
        total = np.full(shape, first)
        with np.errstate(all="ignore"):
            for windows_y, inputs_y in self.height.slices():
                for windows_x, inputs_x in self.width.slices():
                    folded = total[:, :, windows_y, windows_x]
                    step(folded, x[:, :, inputs_y, inputs_x], folded)
        return total


def _axis(
    options: Options, extent: int, windows: int, filter_: str, stride: str, same: bool
) -> Axis:
    return Axis.of(extent, windows, options.integer(filter_), options.integer(stride), same)


def _bind(node: Node, average: bool) -> BoundKernel:
    """Source: ``PoolingPrepare``, ``AverageEval`` and ``MaxEval``."""
    source, output = node.input(0), node.output()
    dtype = supported(node, source, (DType.INT8, DType.INT16, DType.FLOAT32), "input")
    require_same_type(node, source, output, "input and output")
    pooling = Pooling.of(node)
    if average:
        require(min(pooling.windows) > 0, node, "a window lies outside the input")
    activation = node.options.text("fused_activation_function", "NONE")
    if dtype is DType.FLOAT32:
        low, high = (np.float32(bound) for bound in activation_range(activation))
        return _average_float(pooling, low, high) if average else _max(pooling, dtype, low, high)
    difference = abs(np.float32(source.scale) - np.float32(output.scale))
    require(
        bool(difference <= 1e-6) and source.zero_point == output.zero_point,
        node,
        "input and output are quantized differently",
    )
    bounds = activation_range_quantized(activation, dtype, output.scale, output.zero_point)
    least, largest = (np.int32(bound) for bound in bounds)
    if average:
        return _average(pooling, dtype, least, largest)
    # The clamp casts its bounds to the stored type.
    return _max(pooling, dtype, least.astype(dtype.numpy), largest.astype(dtype.numpy))


def _average(pooling: Pooling, dtype: DType, low: np.int32, high: np.int32) -> BoundKernel:
    """Source: ``reference_integer_ops::AveragePool``."""
    count = pooling.inside.astype(np.float64)
    half = np.floor(count / 2)

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        total = pooling.reduce(_first(inputs), np.int32(0), np.add)
        # Whole numbers below 2**53: the rounded quotient never reaches the next whole number.
        average = np.floor((np.abs(total) + half) / count)
        return [np.clip(np.copysign(average, total), low, high).astype(dtype.numpy)]

    return run


def _average_float(pooling: Pooling, low: np.float32, high: np.float32) -> BoundKernel:
    """Source: ``reference_ops::AveragePool``."""
    count = pooling.inside.astype(np.float32)

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        total = pooling.reduce(_first(inputs), np.float32(0), np.add)
        return [_clamped(total / count, low, high)]

    return run


def _larger(folded: Array, taps: Array, out: Array) -> None:
    """``std::max`` of a folded value and the next, which keeps the first of two equals."""
    np.copyto(out, taps, where=folded < taps)


def _maximum(folded: Array, taps: Array, out: Array) -> None:
    np.maximum(folded, taps, out=out)


def _max(pooling: Pooling, dtype: DType, low: np.generic, high: np.generic) -> BoundKernel:
    """Source: ``MaxPool``."""
    is_float = dtype is DType.FLOAT32
    limits = np.finfo(np.float32) if is_float else np.iinfo(dtype.numpy)
    least = dtype.numpy.type(limits.min)
    step: _Step = _larger if is_float else _maximum

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        return [_clamped(pooling.reduce(_first(inputs), least, step), low, high)]

    return run


def _clamped(x: Array, low: np.generic, high: np.generic) -> Array:
    """``min(max(x, low), high)`` as the library's, which keeps a zero's sign and NaN."""
    above = np.where(x < low, low, x)
    return np.where(high < above, high, above)


def _bind_l2(node: Node) -> BoundKernel:
    """Source: ``L2Prepare`` and ``reference_ops::L2Pool``."""
    require_counts(node, 1)
    source, output = node.input(0), node.output()
    require_same_type(node, source, output, "input and output")
    supported(node, source, (DType.FLOAT32,), "input")
    pooling = Pooling.of(node)
    require(min(pooling.windows) > 0, node, "a window lies outside the input")
    activation = node.options.text("fused_activation_function", "NONE")
    low, high = (np.float32(bound) for bound in activation_range(activation))
    count = pooling.inside.astype(np.float32)

    def add_square(folded: Array, taps: Array, out: Array) -> None:
        np.add(folded, taps * taps, out=out)

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        squares = pooling.reduce(_first(inputs), np.float32(0), add_square)
        return [_clamped(np.sqrt(squares / count), low, high)]

    return run


def _first(inputs: Sequence[Array | None]) -> Array:
    x = inputs[0]
    assert x is not None
    return x


@dataclass(frozen=True)
class PoolTurns:
    """Turns of the loops of a pooling.

    Attributes:
        batches: batches.
        rows: rows of the output.
        pixels: pixels of the output.
        outputs: elements of the output.
        tap_rows: rows of the windows that lie inside the input.
        taps: elements of the windows that lie inside the input.
    """

    batches: int
    rows: int
    pixels: int
    outputs: int
    tap_rows: int
    taps: int


def pooling_mirror(pooling: Pooling, x: Array, average: bool) -> tuple[Array, PoolTurns]:
    """Average or maximum of int8 or int16 windows without activation, as the library loops.

    Args:
        pooling: the shape.
        x: input, shape ``(batches, rows, columns, channels)``.
        average: the rounded mean, not the maximum.

    Returns:
        The output and the turns of its loops.

    Source: ``reference_integer_ops::AveragePool`` and ``MaxPool``.
    """
    height, width, depth = pooling.height, pooling.width, pooling.channels
    out = np.empty((pooling.batches, height.windows, width.windows, depth), x.dtype)
    rows = pixels = tap_rows = taps = 0
    for batch in range(pooling.batches):
        for out_y in range(height.windows):
            rows += 1
            for out_x in range(width.windows):
                pixels += 1
                for channel in range(depth):
                    in_x_origin = out_x * width.stride - width.padding
                    in_y_origin = out_y * height.stride - height.padding
                    x_end = min(width.filter, width.extent - in_x_origin)
                    y_end = min(height.filter, height.extent - in_y_origin)
                    total, largest, count = 0, int(np.iinfo(x.dtype).min), 0
                    for filter_y in range(max(0, -in_y_origin), y_end):
                        tap_rows += 1
                        for filter_x in range(max(0, -in_x_origin), x_end):
                            taps += 1
                            value = int(
                                x[batch, in_y_origin + filter_y, in_x_origin + filter_x, channel]
                            )
                            total += value
                            largest = max(largest, value)
                            count += 1
                    if average:
                        nudged = total + count // 2 if total > 0 else total - count // 2
                        largest = math.trunc(nudged / count)
                    out[batch, out_y, out_x, channel] = largest
    return out, PoolTurns(pooling.batches, rows, pixels, out.size, tap_rows, taps)


def trips(pooling: Pooling) -> dict[str, float]:
    """Loop trip counts of a pooling; the first batch is part of the call."""
    height, width = pooling.height, pooling.width
    planes = pooling.batches * pooling.channels
    return {
        "call": 1,
        "next_batch": pooling.batches - 1,
        "row": pooling.batches * height.windows,
        "pixel": pooling.batches * height.windows * width.windows,
        "output": planes * height.windows * width.windows,
        "tap_row": planes * sum(height.taps) * width.windows,
        "tap": planes * sum(height.taps) * sum(width.taps),
    }


def _average_trips(pooling: Pooling, dtype: DType) -> Trips:
    """Trips with what a division costs where the core has none.

    Soft float returns early from a division by a power of two, and the first additions of values
    of both signs cost less than the later ones. The integer division of an M0+ takes more steps
    for means away from zero.
    """
    levels = trips(pooling)
    planes = pooling.batches * pooling.channels
    windows = [max(count, 1) for count in pooling.windows]
    if dtype is DType.FLOAT32:
        levels["late_tap"] = planes * sum(max(count - 4, 0) for count in windows)
        levels["division"] = planes * sum(count & (count - 1) > 0 for count in windows)
    else:
        levels["long_quotient"] = planes * sum(typical_long_quotients(c, dtype) for c in windows)
    return levels


def typical_long_quotients(count: int, dtype: DType) -> float:
    """Share of means of ``count`` values, all as likely, that are 8 or more away from zero."""
    largest = 1 << (dtype.bits - 1)
    if count == 1:
        return 1 - 8 / largest
    return math.erfc(7.5 * math.sqrt(1.5 * count) / largest)


def _call(node: Node, average: bool) -> KernelCall:
    pooling = Pooling.of(node)
    dtype = node.input(0).dtype
    stem = "average_pool_2d" if average else "max_pool_2d"
    return KernelCall(
        "AveragePool" if average else "MaxPool",
        f"reference/{stem}_{dtype.value}",
        _average_trips(pooling, dtype) if average else trips(pooling),
    )


def _call_l2(node: Node) -> KernelCall:
    return KernelCall(
        "reference_ops::L2Pool",
        f"reference/l2_pool_2d_{node.input(0).dtype.value}",
        _average_trips(Pooling.of(node), DType.FLOAT32),
    )


KERNELS: tuple[Kernel, ...] = (
    Kernel("AVERAGE_POOL_2D", lambda n: _bind(n, True), lambda n: _call(n, True)),
    Kernel("MAX_POOL_2D", lambda n: _bind(n, False), lambda n: _call(n, False)),
    Kernel("L2_POOL_2D", _bind_l2, _call_l2),
)
