"""CONV_2D and FULLY_CONNECTED as im2col and matrix-vector products, dense or compressed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from mcusim.graph import Array, DType, Node, Tensor
from mcusim.kernels.contract import BoundKernel, KernelCall
from mcusim.kernels.dnnruntime.arithmetic import (
    Requantization,
    matrix_product,
    real,
    weight_scales,
)
from mcusim.kernels.dnnruntime.checks import activation, bytes_or_floats, is_float
from mcusim.kernels.dnnruntime.compressed_rows import WeightStorage, stored_weights
from mcusim.kernels.dnnruntime.windows import Window, check_window, window_of
from mcusim.kernels.library import LibraryKernel, refuse

__all__ = ["column_bytes", "kernels", "relu_call"]


def kernels(has_simd: bool) -> dict[str, LibraryKernel]:
    """Both operators as compiled for a core.

    Args:
        has_simd: the core has the DSP extension, so that columns are int16 and one instruction
            multiplies two.
    """
    return {
        "CONV_2D": LibraryKernel(
            _check_convolution, _bind_convolution, lambda node: _convolution_calls(node, has_simd)
        ),
        "FULLY_CONNECTED": LibraryKernel(
            _check_dense, _bind_dense, lambda node: _dense_calls(node, has_simd)
        ),
    }


def column_bytes(node: Node, has_simd: bool) -> int:
    """Buffer of one unrolled window, or of a dense layer's input made wider."""
    if node.name not in ("CONV_2D", "FULLY_CONNECTED"):
        return 0
    columns = node.input(1).elements // node.input(1).shape[0]
    if node.name == "FULLY_CONNECTED":
        return 2 * columns if has_simd and not is_float(node.output()) else 0
    return columns * (4 if is_float(node.output()) else 2 if has_simd else 1)


def relu_call(elements: int, is_float_kernel: bool) -> KernelCall:
    """ReLU as a kernel of its own."""
    name = "dnn_relu_f32" if is_float_kernel else "dnn_relu_u8"
    return KernelCall(name, f"dnnruntime/{name[4:]}", {"call": 1, "element": elements})


def _check_weights(node: Node) -> None:
    x, weights, y = node.input(0), node.input(1), node.output()
    bytes_or_floats(x, y)
    refuse(weights.is_constant, "its weights are no constant")
    refuse(
        weights.dtype in ((DType.FLOAT32,) if is_float(y) else (DType.INT8, DType.UINT8)),
        f"weights of {weights.dtype.value} for {y.dtype.value}",
    )
    points = () if weights.quantization is None else weights.quantization.zero_points
    refuse(len(set(map(int, points))) <= 1, "its weights have several zero points")
    scales = 1 if weights.quantization is None else weights.quantization.scales.size
    refuse(is_float(y) or scales in (1, weights.shape[0]), "its weights lack scales")
    bias = node.optional_input(2)
    refuse(
        bias is None or (bias.is_constant and bias.shape == (weights.shape[0],)),
        "its bias is no constant of one value a filter",
    )
    refuse(
        bias is None or bias.dtype is (DType.FLOAT32 if is_float(y) else DType.INT32),
        "its bias is of another type than its sums",
    )
    activation(node)


def _check_convolution(node: Node) -> None:
    _check_weights(node)
    x, weights, y = node.input(0), node.input(1), node.output()
    refuse(len(x.shape) == len(weights.shape) == len(y.shape) == 4, "it takes images")
    refuse(x.shape[3] == weights.shape[3], "dnnruntime has no convolution in groups")
    refuse(y.shape[3] == weights.shape[0], "its output has another number of channels")
    refuse(x.shape[0] == y.shape[0] == 1, "dnnruntime runs one image at a time")
    dilations = (node.options.integer(f"dilation_{way}_factor", 1) for way in "hw")
    refuse(set(dilations) == {1}, "dnnruntime has no dilation")
    check_window(node)


def _check_dense(node: Node) -> None:
    _check_weights(node)
    x, weights, y = node.input(0), node.input(1), node.output()
    refuse(len(weights.shape) == 2, "its weights are no matrix")
    refuse(
        x.elements == weights.shape[1] and y.elements == weights.shape[0],
        "dnnruntime runs one vector at a time",
    )


def _bias(node: Node) -> Array:
    rows = node.input(1).shape[0]
    bias = node.optional_input(2)
    dtype = np.float32 if is_float(node.output()) else np.float64
    if bias is None or bias.data is None:
        return np.zeros(rows, dtype)
    return bias.data.astype(dtype)


def _weights(weights: Tensor, order: tuple[int, ...]) -> Array:
    data = np.zeros(weights.shape) if weights.data is None else weights.data
    return real(data, weights).transpose(order).reshape(weights.shape[0], -1)


def _finish(node: Node) -> Callable[[Array], Array]:
    """What makes sums of shape ``(n, rows)`` the output."""
    y = node.output()
    fused = activation(node)
    if is_float(y):
        least = np.float32(0.0 if fused == "RELU" else -np.inf)
        return lambda sums: np.maximum(sums, least)
    scales = weight_scales(node.input(0), node.input(1), y)
    requantize = Requantization(y, fused)
    return lambda sums: requantize(sums.astype(np.float32) * scales)


def _bind_convolution(node: Node) -> BoundKernel:
    window, x, y = window_of(node), node.input(0), node.output()
    weights, bias = _weights(node.input(1), (0, 3, 1, 2)), _bias(node)
    finish = _finish(node)

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        images = real(np.asarray(inputs[0])[:, 0], x)
        columns = window.columns(images, 0.0).reshape(-1, window.taps)
        found = finish(matrix_product(columns, weights, bias))
        return (found.reshape(-1, *y.shape),)

    return run


def _bind_dense(node: Node) -> BoundKernel:
    x, y = node.input(0), node.output()
    weights, bias = _weights(node.input(1), (0, 1)), _bias(node)
    finish = _finish(node)

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        vectors = real(np.asarray(inputs[0]), x).reshape(-1, x.elements)
        found = finish(matrix_product(vectors, weights, bias))
        return (found.reshape(-1, *y.shape),)

    return run


def _convolution_calls(node: Node, has_simd: bool) -> Sequence[KernelCall]:
    window = window_of(node)
    kind = "f32" if is_float(node.output()) else "u8"
    product = _product_call(stored_weights(node.input(1)), window.pixels, kind, has_simd)
    return (product, _im2col_call(window, kind), *_separate_relu(node))


def _dense_calls(node: Node, has_simd: bool) -> Sequence[KernelCall]:
    kind = "f32" if is_float(node.output()) else "u8"
    storage = stored_weights(node.input(1))
    calls = [_product_call(storage, 1, kind, has_simd)]
    if kind == "u8" and has_simd:
        trips = {"call": 1, "element": storage.columns}
        calls.append(KernelCall("dnn_widen", "dnnruntime/widen_u8", trips))
    return (*calls, *_separate_relu(node))


def _separate_relu(node: Node) -> Sequence[KernelCall]:
    if not is_float(node.output()) or activation(node) == "NONE":
        return ()
    return (relu_call(node.output().elements, True),)


def _im2col_call(window: Window, kind: str) -> KernelCall:
    channels = window.pixels * window.channels
    inside = window.inside(0) * window.inside(1) * window.channels
    trips = {
        "call": window.pixels,
        "channel": channels,
        "kernel_row": channels * window.kernel[0],
        "tap": inside,
        "tap_outside": window.pixels * window.taps - inside,
    }
    return KernelCall(f"dnn_im2col_{kind}", f"dnnruntime/im2col_{kind}", trips)


def _product_call(storage: WeightStorage, pixels: int, kind: str, has_simd: bool) -> KernelCall:
    rows = pixels * storage.rows
    call = KernelCall("", "", {"call": pixels, "row": rows})
    if storage.is_compressed:
        products = pixels * storage.stored
        name = f"dnn_crs_matvec_{kind}"
        trips = {**call.trips, "product": products}
        reason = (
            f"{storage.stored} of {storage.rows * storage.columns} weights are kept: compressed "
            f"rows take {storage.compressed_bytes} bytes, all weights {storage.dense_bytes}"
        )
    else:
        products = rows * storage.columns
        name = f"dnn_matvec_{kind}"
        if kind == "u8" and has_simd:
            quads, left = divmod(storage.columns, 4)
            trips = {**call.trips, "quad": rows * quads, "left": rows * left}
        else:
            trips = {**call.trips, "product": products}
        reason = (
            f"all {storage.rows * storage.columns} weights take {storage.dense_bytes} bytes, "
            f"compressed rows {storage.compressed_bytes}"
        )
    return replace(
        call,
        kernel=name,
        profile=f"dnnruntime/{name[4:]}",
        trips=trips,
        macs=products,
        reason=reason,
        stored_bytes=storage.compressed_bytes if storage.is_compressed else 0,
        read_bytes=pixels * storage.compressed_bytes if storage.is_compressed else 0,
    )
