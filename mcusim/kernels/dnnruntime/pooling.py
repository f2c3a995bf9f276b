"""MAX_POOL_2D, AVERAGE_POOL_2D and MEAN over an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcusim.graph import Array, Node
from mcusim.kernels.contract import BoundKernel, KernelCall
from mcusim.kernels.dnnruntime.arithmetic import Requantization, average_pool, real
from mcusim.kernels.dnnruntime.checks import (
    activation,
    bytes_or_floats,
    is_float,
    same_scale,
)
from mcusim.kernels.dnnruntime.windows import check_window, window_of
from mcusim.kernels.library import LibraryKernel, refuse

__all__ = ["KERNELS"]


def _check(node: Node) -> None:
    x, y = node.input(0), node.output()
    bytes_or_floats(x, y)
    refuse(len(x.shape) == len(y.shape) == 4 and x.shape[0] == 1, "it takes one image")
    refuse(activation(node) == "NONE", "dnnruntime fuses no activation into pooling")
    refuse(x.shape[3] == y.shape[3], "its output has another number of channels")
    check_window(node)
    if node.name == "MAX_POOL_2D":
        same_scale(x, y)


def _check_mean(node: Node) -> None:
    x, axes, y = node.input(0), node.input(1), node.output()
    bytes_or_floats(x, y)
    whole = axes.data is not None and sorted(axes.data.ravel().tolist()) in ([1, 2], [-3, -2])
    refuse(len(x.shape) == 4 and x.shape[0] == 1 and whole, "dnnruntime means whole images only")
    refuse(y.elements == x.shape[3], "its output is not one value a channel")


def _bind_max(node: Node) -> BoundKernel:
    window, y = window_of(node), node.output()

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        images = np.asarray(inputs[0])[:, 0]
        limits = -np.inf if is_float(y) else np.iinfo(y.dtype.numpy).min
        found = window.columns(images, limits).max(axis=(-2, -1))
        return (found.reshape(-1, *y.shape),)

    return run


def _bind_average(node: Node) -> BoundKernel:
    window, x, y = window_of(node), node.input(0), node.output()
    ones = np.ones((1, *window.extent, 1), np.float32)
    counts = window.columns(ones, 0.0).sum(axis=(-2, -1))[..., 0]
    scale = None if is_float(y) else np.float32(x.scale) / np.float32(y.scale)
    requantize = Requantization(y)

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        images = real(np.asarray(inputs[0])[:, 0], x)
        windows = window.columns(images, 0.0)
        found = average_pool(windows.reshape(*windows.shape[:4], -1), counts, scale)
        return ((found if is_float(y) else requantize(found)).reshape(-1, *y.shape),)

    return run


def _calls(node: Node) -> Sequence[KernelCall]:
    window = window_of(node)
    kind = "f32" if is_float(node.output()) else "u8"
    name = f"dnn_max_pool_{kind}" if node.name == "MAX_POOL_2D" else f"dnn_average_pool_{kind}"
    trips = {
        "call": 1,
        "channel": window.channels,
        "out_row": window.channels * window.out[0],
        "pixel": window.channels * window.pixels,
        "tap_row": window.channels * window.inside(0) * window.out[1],
        "tap": window.channels * window.inside(0) * window.inside(1),
    }
    return (KernelCall(name, f"dnnruntime/{name[4:]}", trips, reason="its one kernel"),)


KERNELS = {
    "MAX_POOL_2D": LibraryKernel(_check, _bind_max, _calls),
    "AVERAGE_POOL_2D": LibraryKernel(_check, _bind_average, _calls),
    "MEAN": LibraryKernel(_check_mean, _bind_average, _calls),
}
