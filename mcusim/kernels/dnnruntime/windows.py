"""Windows over images: of convolutions and pooling, and their taps inside and outside the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcusim.graph import Array, Node
from mcusim.kernels.library import refuse

__all__ = ["Window", "check_window", "window_of"]


@dataclass(frozen=True)
class Window:
    """``dnn_window`` of the device kernels: a window over one image.

    Attributes:
        channels: of the input.
        extent: height and width of the input.
        kernel: height and width.
        stride: vertical and horizontal.
        before: rows and columns of padding before the image.
        out: height and width of the output.
    """

    channels: int
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
        """Elements of one window, all channels."""
        return self.channels * self.kernel[0] * self.kernel[1]

    def inside(self, axis: int) -> int:
        """Taps inside the image along height (0) or width (1), over all outputs."""
        starts = np.arange(self.out[axis]) * self.stride[axis] - self.before[axis]
        ends = np.minimum(starts + self.kernel[axis], self.extent[axis])
        return int(np.maximum(ends - np.maximum(starts, 0), 0).sum())

    def columns(self, x: Array, outside: float) -> Array:
        """Unrolled windows.

        Args:
            x: images, shape ``(n, height, width, channels)``.
            outside: value of taps outside the image.

        Returns:
            Shape ``(n, out_h, out_w, channels, kernel_h, kernel_w)``: elements of a window in the
            order of the device, channels first.
        """
        after = [
            max(0, (o - 1) * s - b + k - e)
            for o, s, b, k, e in zip(
                self.out, self.stride, self.before, self.kernel, self.extent, strict=True
            )
        ]
        edges = ((0, 0), (self.before[0], after[0]), (self.before[1], after[1]), (0, 0))
        padded = np.pad(x, edges, constant_values=outside)
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.kernel, axis=(1, 2))
        return windows[
            :,
            : (self.out[0] - 1) * self.stride[0] + 1 : self.stride[0],
            : (self.out[1] - 1) * self.stride[1] + 1 : self.stride[1],
        ]


def check_window(node: Node) -> None:
    """Refuse a window whose output has other extents than its padding says."""
    window = window_of(node)
    is_same = node.options.text("padding") == "SAME"
    for extent, kernel, stride, out in zip(
        window.extent, window.kernel, window.stride, window.out, strict=True
    ):
        refuse(kernel > 0 and stride > 0, "its kernel or stride is empty")
        wanted = -(-extent // stride) if is_same else (extent - kernel) // stride + 1
        refuse(out == wanted > 0, f"its output has an extent of {out}, not {wanted}")


def window_of(node: Node) -> Window:
    """The window of a convolution (by its weights), of pooling (by its options), of MEAN."""
    _, height, width, channels = node.input(0).shape
    options = node.options
    if node.name == "MEAN":
        return Window(channels, (height, width), (height, width), (1, 1), (0, 0), (1, 1))
    _, out_h, out_w, _ = node.output().shape
    if node.name == "CONV_2D":
        kernel = (node.input(1).shape[1], node.input(1).shape[2])
    else:
        kernel = (options.integer("filter_height"), options.integer("filter_width"))
    stride = (options.integer("stride_h", 1), options.integer("stride_w", 1))
    before = (0, 0)
    if options.text("padding") == "SAME":
        before = (
            max(0, (out_h - 1) * stride[0] + kernel[0] - height) // 2,
            max(0, (out_w - 1) * stride[1] + kernel[1] - width) // 2,
        )
    return Window(channels, (height, width), kernel, stride, before, (out_h, out_w))
