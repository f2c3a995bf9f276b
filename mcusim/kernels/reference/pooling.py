"""AVERAGE_POOL_2D, MAX_POOL_2D and L2_POOL_2D."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array, DType, Node, Options, Tensor
from mcusim.kernels.contract import Binder, BoundKernel, Kernel, KernelCall, Trips
from mcusim.kernels.fixed_point import activation_range, activation_range_quantized
from mcusim.kernels.reference.checks import (
    require,
    require_counts,
    require_same_type,
    supported,
)
from mcusim.kernels.reference.convolution import check_extents

__all__ = [
    "KERNELS",
    "Axis",
    "PoolTurns",
    "Pooling",
    "pooling_mirror",
    "trips",
    "typical_long_quotients",
]


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
        return tuple(self._taps(origin) for origin in origins)

    @cached_property
    def tap_counts(self) -> Counter[int]:
        """How many windows have how many elements inside the input."""
        # Windows that lie wholly inside the input need not be looked at one by one.
        first = min(-(-self.padding // self.stride), self.windows)
        beyond = (self.extent - self.filter + self.padding) // self.stride + 1
        end = min(max(beyond, first), self.windows)
        edges = (*range(first), *range(end, self.windows))
        counts = Counter(self._taps(window * self.stride - self.padding) for window in edges)
        counts[self.filter] += end - first
        return Counter({taps: times for taps, times in counts.items() if times})

    @property
    def total_taps(self) -> int:
        """Elements of all windows inside the input."""
        return sum(taps * times for taps, times in self.tap_counts.items())

    def _taps(self, origin: int) -> int:
        return max(min(self.filter, self.extent - origin) - max(0, -origin), 0)

    @property
    def bounds(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """First element of each window inside the input, and the one after the last."""
        origins = np.arange(self.windows, dtype=np.int64) * self.stride - self.padding
        first = np.maximum(origins, 0)
        return first, np.maximum(np.minimum(origins + self.filter, self.extent), first)


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
        check_extents(
            node,
            (rows, columns),
            output.shape[1:3],
            (options.integer("filter_height"), options.integer("filter_width")),
            (options.integer("stride_h"), options.integer("stride_w")),
        )
        return cls(
            batches,
            channels,
            _axis(options, rows, output.shape[1], "filter_height", "stride_h", same),
            _axis(options, columns, output.shape[2], "filter_width", "stride_w", same),
        )

    def require_taps(self, node: Node) -> None:
        """Refuse the node if a window has nothing to take the mean of.

        Raises:
            UnsupportedOperatorError: a window lies outside the input.
        """
        has_taps = self.window_counts and min(self.window_counts) > 0
        require(bool(has_taps), node, "a window lies outside the input")

    @property
    def windows(self) -> Iterator[int]:
        """How many elements of each window lie inside the input, over one channel of one batch."""
        return (rows * columns for rows in self.height.taps for columns in self.width.taps)

    @property
    def window_counts(self) -> Counter[int]:
        """How many windows have how many elements inside the input, as :attr:`windows`."""
        counts: Counter[int] = Counter()
        for rows, down in self.height.tap_counts.items():
            for columns, across in self.width.tap_counts.items():
                counts[rows * columns] += down * across
        return counts


def _axis(
    options: Options, extent: int, windows: int, filter_: str, stride: str, same: bool
) -> Axis:
    return Axis.of(extent, windows, options.integer(filter_), options.integer(stride), same)


def _prepare(node: Node, average: bool) -> Binder:
    """Source: ``PoolingPrepare``, ``AverageEval`` and ``MaxEval``."""
    require_counts(node, 1)
    source, output = node.input(0), node.output()
    dtype = supported(node, source, (DType.INT8, DType.INT16, DType.FLOAT32), "input")
    require_same_type(node, source, output, "input and output")
    pooling = Pooling.of(node)
    if average:
        pooling.require_taps(node)
    activation = node.options.text("fused_activation_function", "NONE")
    if dtype is DType.FLOAT32:
        low, high = (np.float32(bound) for bound in activation_range(activation))
        if average:
            return partial(_average_float, pooling, low, high)
        return partial(_max, pooling, dtype, low, high)
    difference = abs(np.float32(source.scale) - np.float32(output.scale))
    require(
        bool(difference <= 1e-6) and source.zero_point == output.zero_point,
        node,
        "input and output are quantized differently",
    )
    bounds = activation_range_quantized(activation, dtype, output.scale, output.zero_point)
    if average:
        return partial(_average, pooling, *bounds)
    # The clamp casts its bounds to the stored type.
    least, largest = (np.int64(bound).astype(dtype.numpy) for bound in bounds)
    return partial(_max, pooling, dtype, least, largest)


#: Compiled loops from images and bounds of windows to what is written.
_Loops: TypeAlias = Callable[[Array, Any, Array], object]


def _run(pooling: Pooling, loops: _Loops) -> BoundKernel:
    """A kernel that runs compiled loops over all images."""
    from mcusim.kernels.compiled.pooling import Windows

    windows = Windows(*pooling.height.bounds, *pooling.width.bounds)
    outer = pooling.height.windows, pooling.width.windows, pooling.channels

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        x = inputs[0]
        assert x is not None
        images = np.ascontiguousarray(x).reshape(-1, *x.shape[2:])
        out = np.empty((len(images), *outer), x.dtype)
        loops(images, windows, out)
        return [out.reshape(*x.shape[:2], *outer)]

    return run


def _average(pooling: Pooling, low: int, high: int) -> BoundKernel:
    """Source: ``reference_integer_ops::AveragePool``."""
    from mcusim.kernels.compiled.pooling import average

    return _run(pooling, lambda x, windows, out: average(x, windows, low, high, out))


def _average_float(pooling: Pooling, low: np.float32, high: np.float32) -> BoundKernel:
    """Source: ``reference_ops::AveragePool``."""
    from mcusim.kernels.compiled.pooling import average_float

    return _run(pooling, lambda x, windows, out: average_float(x, windows, low, high, out))


def _max(pooling: Pooling, dtype: DType, low: np.generic, high: np.generic) -> BoundKernel:
    """Source: ``MaxPool``."""
    from mcusim.kernels.compiled.pooling import largest

    limits = np.finfo(np.float32) if dtype is DType.FLOAT32 else np.iinfo(dtype.numpy)
    least = dtype.numpy.type(limits.min)
    return _run(pooling, lambda x, windows, out: largest(x, windows, least, low, high, out))


def _prepare_l2(node: Node) -> Binder:
    """Source: ``L2Prepare``."""
    require_counts(node, 1)
    source, output = node.input(0), node.output()
    require_same_type(node, source, output, "input and output")
    supported(node, source, (DType.FLOAT32,), "input")
    pooling = Pooling.of(node)
    pooling.require_taps(node)
    activation = node.options.text("fused_activation_function", "NONE")
    low, high = (np.float32(bound) for bound in activation_range(activation))
    return partial(_l2, pooling, low, high)


def _l2(pooling: Pooling, low: np.float32, high: np.float32) -> BoundKernel:
    """Source: ``reference_ops::L2Pool``."""
    from mcusim.kernels.compiled.pooling import root_mean_square

    return _run(pooling, lambda x, windows, out: root_mean_square(x, windows, low, high, out))


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
        "tap_row": planes * height.total_taps * width.windows,
        "tap": planes * height.total_taps * width.total_taps,
    }


def _average_trips(pooling: Pooling, source: Tensor) -> Trips:
    """Trips with what the sign of a sum adds, and a division where the core has none.

    Soft float returns early from a division by a power of two, and the first additions of values
    of both signs cost less than the later ones. The integer division of an M0+ takes more steps
    for means away from zero. All are exact where the input's values are known.
    """
    levels = trips(pooling)
    planes = pooling.batches * pooling.channels
    windows = pooling.window_counts.items()
    if source.dtype is DType.FLOAT32:
        levels["late_tap"] = planes * sum(max(n - 4, 0) * times for n, times in windows)
        levels["division"] = planes * sum((n & (n - 1) > 0) * times for n, times in windows)
    elif source.data is None:
        shares = (typical_long_quotients(max(n, 1), source.dtype) * times for n, times in windows)
        levels["long_quotient"] = planes * sum(shares)
        levels["negative_sum"] = levels["output"] / 2
    else:
        sums = _sums(pooling, source.data)
        every = np.array([max(count, 1) for count in pooling.windows])
        counts = every.reshape(1, *sums.shape[1:3], 1)
        means = np.trunc((np.abs(sums) + counts // 2) / counts)
        levels["long_quotient"] = int((means >= 8).sum())
        levels["negative_sum"] = int((sums <= 0).sum())
    return levels


def _sums(pooling: Pooling, data: Array) -> npt.NDArray[np.int64]:
    """Sum of each window, shape ``(batches, rows, columns, channels)``."""
    total = data.astype(np.int64)
    for axis, (first, end) in ((1, pooling.height.bounds), (2, pooling.width.bounds)):
        ends = np.insert(np.cumsum(total, axis=axis), 0, 0, axis=axis)
        total = ends.take(end, axis=axis) - ends.take(first, axis=axis)
    return total


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
        _average_trips(pooling, node.input(0)) if average else trips(pooling),
    )


def _call_l2(node: Node) -> KernelCall:
    return KernelCall(
        "reference_ops::L2Pool",
        f"reference/l2_pool_2d_{node.input(0).dtype.value}",
        _average_trips(Pooling.of(node), node.input(0)),
    )


KERNELS: tuple[Kernel, ...] = (
    Kernel("AVERAGE_POOL_2D", lambda n: _prepare(n, True), lambda n: _call(n, True)),
    Kernel("MAX_POOL_2D", lambda n: _prepare(n, False), lambda n: _call(n, False)),
    Kernel("L2_POOL_2D", _prepare_l2, _call_l2),
)
