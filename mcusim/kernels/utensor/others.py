"""MAX_POOL_2D, RESHAPE, QUANTIZE and DEQUANTIZE.

Source: uTensor 2cb1b70, ``ReferenceOperators::MaxPoolOperator`` and ``ReshapeOperator``,
``TflmSymQuantOps::QuantizeOperator`` and ``DequantizeOperator``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mcusim.graph import Array, DType, Node
from mcusim.kernels.contract import BoundKernel, KernelCall
from mcusim.kernels.library import LibraryKernel, refuse
from mcusim.kernels.utensor.checks import activation, bytes_with_scale
from mcusim.kernels.utensor.windows import window_of

__all__ = ["KERNELS"]


def _over(run: Callable[[Array], Array]) -> BoundKernel:
    return lambda inputs: (run(np.asarray(inputs[0])),)


def _element_calls(kernel: str, profile: str) -> Callable[[Node], Sequence[KernelCall]]:
    return lambda node: (
        KernelCall(
            kernel,
            f"utensor/{profile}",
            {"call": 1, "element": node.output().elements},
            reason="its one operator",
        ),
    )


def _check_max_pool(node: Node) -> None:
    bytes_with_scale(node.input(0), node.output())
    activation(node, "NONE")
    x, y = node.input(0).shape, node.output().shape
    refuse(len(x) == len(y) == 4, "it takes images")
    refuse(x[0] == y[0] == 1 and x[3] == y[3], "its input and output differ in images or channels")
    window_of(node)


def _bind_max_pool(node: Node) -> BoundKernel:
    """Taps outside the image count as a stored zero."""
    window, y = window_of(node), node.output()

    def run(x: Array) -> Array:
        found: Array = window.columns(x[:, 0], 0).max(axis=(3, 4))
        return found.reshape(-1, *y.shape)

    return _over(run)


def _max_pool_calls(node: Node) -> Sequence[KernelCall]:
    window, y = window_of(node), node.output()
    channels = y.shape[3]
    inside = window.inside * channels
    trips = {
        "call": 1,
        "output": y.elements,
        "kernel_row": y.elements * window.kernel[0],
        "tap": inside,
        "tap_outside": y.elements * window.taps - inside,
    }
    name = "ReferenceOperators::MaxPoolOperator"
    return (KernelCall(name, "utensor/max_pool_2d_int8", trips, reason="its one operator"),)


def _same_size(node: Node) -> None:
    refuse(node.input(0).elements == node.output().elements, "it changes the number of elements")


def _check_reshape(node: Node) -> None:
    bytes_with_scale(node.input(0), node.output())
    _same_size(node)


def _bind_reshape(node: Node) -> BoundKernel:
    shape = node.output().shape
    return _over(lambda x: x.reshape(len(x), *shape))


def _check_quantize(node: Node) -> None:
    refuse(node.input(0).dtype is DType.FLOAT32, "uTensor's model quantizes float32 only")
    bytes_with_scale(node.output())
    refuse(node.input(0).shape == node.output().shape, "its output has another shape")


def _bind_quantize(node: Node) -> BoundKernel:
    scale, zero = np.float32(node.output().scale), node.output().zero_point

    def run(x: Array) -> Array:
        quotient = (x / scale).astype(np.float64)
        nearest = np.copysign(np.floor(np.abs(quotient) + 0.5), quotient)
        stored: Array = np.clip(nearest + zero, -128, 127).astype(np.int8)
        return stored

    return _over(run)


def _check_dequantize(node: Node) -> None:
    bytes_with_scale(node.input(0))
    refuse(node.output().dtype is DType.FLOAT32, "uTensor's model dequantizes to float32 only")
    refuse(node.input(0).shape == node.output().shape, "its output has another shape")


def _bind_dequantize(node: Node) -> BoundKernel:
    scale, zero = np.float32(node.input(0).scale), node.input(0).zero_point

    def run(x: Array) -> Array:
        real: Array = scale * (x.astype(np.int32) - zero).astype(np.float32)
        return real

    return _over(run)


KERNELS = {
    "MAX_POOL_2D": LibraryKernel(_check_max_pool, _bind_max_pool, _max_pool_calls),
    "RESHAPE": LibraryKernel(
        _check_reshape,
        _bind_reshape,
        _element_calls("ReferenceOperators::ReshapeOperator", "reshape_int8"),
    ),
    "QUANTIZE": LibraryKernel(
        _check_quantize,
        _bind_quantize,
        _element_calls("TflmSymQuantOps::QuantizeOperator", "quantize_float32"),
    ),
    "DEQUANTIZE": LibraryKernel(
        _check_dequantize,
        _bind_dequantize,
        _element_calls("TflmSymQuantOps::DequantizeOperator", "dequantize_int8"),
    ),
}
