"""Where uTensor's windows lie: each operator has its own rule for the padding.

Source: ``generic_convolution_kernel``, ``generic_pool_convolution_kernel`` and
``ComputePaddingHeightWidth`` of uTensor 2cb1b70.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array, Node
from mcusim.kernels.library import refuse

__all__ = ["Window", "window_of"]


@dataclass(frozen=True)
class Window:
    """A window over an image.

    Attributes:
        extent: height and width of the input.
        kernel: height and width.
        stride: vertical and horizontal.
        before: rows and columns of padding before the image.
        out: height and width of the output.
    """

    extent: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    before: tuple[int, int]
    out: tuple[int, int]

    @property
    def pixels(self) -> int:
        """Pixels of the output."""
        return self.out[0] * self.out[1]

    @property
    def taps(self) -> int:
        """Taps of one window."""
        return self.kernel[0] * self.kernel[1]

    @property
    def inside(self) -> int:
        """Taps inside the image, over all pixels."""
        return int(np.prod([self._places(axis)[1].sum() for axis in (0, 1)]))

    def columns(self, x: Array, outside: int) -> Array:
        """Unrolled windows.

        Args:
            x: images, shape ``(n, height, width, channels)``.
            outside: value of taps outside the image.

        Returns:
            Shape ``(n, out_h, out_w, kernel_h, kernel_w, channels)``.
        """
        (rows, in_rows), (columns, in_columns) = self._places(0), self._places(1)
        found = x[:, rows[:, np.newaxis, :, np.newaxis], columns[np.newaxis, :, np.newaxis, :]]
        is_inside = in_rows[:, np.newaxis, :, np.newaxis] & in_columns[np.newaxis, :, np.newaxis, :]
        windows: Array = np.where(is_inside[..., np.newaxis], found, x.dtype.type(outside))
        return windows

    def _places(self, axis: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
        """Where each tap of each output lies along an axis, clipped, and whether it is inside."""
        starts = np.arange(self.out[axis]) * self.stride[axis] - self.before[axis]
        places = starts[:, np.newaxis] + np.arange(self.kernel[axis])
        is_inside = (places >= 0) & (places < self.extent[axis])
        return np.clip(places, 0, self.extent[axis] - 1), is_inside


def window_of(node: Node) -> Window:
    """The window of CONV_2D, DEPTHWISE_CONV_2D or MAX_POOL_2D."""
    options = node.options
    if node.name == "MAX_POOL_2D":
        kernel = (options.integer("filter_height"), options.integer("filter_width"))
    else:
        kernel = (node.input(1).shape[1], node.input(1).shape[2])
    extent = (node.input(0).shape[1], node.input(0).shape[2])
    stride = (options.integer("stride_h", 1), options.integer("stride_w", 1))
    out = (node.output().shape[1], node.output().shape[2])
    refuse(min(*kernel, *stride, *out) > 0, "its kernel, stride or output is empty")
    is_same = options.text("padding") == "SAME"
    rule = _RULES[node.name]
    before = tuple(rule(*axis, is_same) for axis in zip(extent, kernel, stride, out, strict=True))
    return Window(extent, kernel, stride, (before[0], before[1]), out)


def _convolution(extent: int, kernel: int, stride: int, out: int, is_same: bool) -> int:
    return _half((out - 1) * stride + kernel - extent + (not is_same))


def _pooling(extent: int, kernel: int, stride: int, out: int, is_same: bool) -> int:
    if is_same:
        return _half((out - 1) * stride + kernel - extent)
    return _half((extent - kernel) // stride * stride + kernel - extent + 1)


def _depthwise(extent: int, kernel: int, stride: int, out: int, is_same: bool) -> int:
    """The two enumerations of paddings number SAME and VALID the other way round."""
    del out
    out = (extent + stride - kernel) // stride if is_same else -(-extent // stride)
    return max(0, (out - 1) * stride + kernel - extent) // 2


def _half(value: int) -> int:
    """Half of it, towards zero, as C divides."""
    return abs(value) // 2 * (1 if value >= 0 else -1)


_RULES = {"CONV_2D": _convolution, "DEPTHWISE_CONV_2D": _depthwise, "MAX_POOL_2D": _pooling}
