"""RELU, ADD, SOFTMAX, QUANTIZE, DEQUANTIZE; RESHAPE and PAD, for which nothing runs.

A padded image is not written: windows that reach beyond the image are filled as they are unrolled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mcusim.graph import Array, DType, Node
from mcusim.kernels.contract import BoundKernel, KernelCall
from mcusim.kernels.dnnruntime.arithmetic import Requantization, softmax
from mcusim.kernels.dnnruntime.checks import (
    activation,
    bytes_or_floats,
    is_float,
    same_scale,
)
from mcusim.kernels.dnnruntime.products import relu_call
from mcusim.kernels.library import LibraryKernel, refuse

__all__ = ["KERNELS"]

_BYTES = (DType.INT8, DType.UINT8)


def _over(run: Callable[[Sequence[Array]], Array]) -> BoundKernel:
    """A kernel of one output from a function of all inputs."""
    return lambda inputs: (run([np.asarray(x) for x in inputs if x is not None]),)


def _element_call(name: str, node: Node, reason: str = "its one kernel") -> KernelCall:
    trips = {"call": 1, "element": node.output().elements}
    return KernelCall(f"dnn_{name}", f"dnnruntime/{name}", trips, reason=reason)


def _named(stem: str) -> Callable[[Node], Sequence[KernelCall]]:
    return lambda node: (
        _element_call(f"{stem}_{'f32' if is_float(node.output()) else 'u8'}", node),
    )


def _same_shape(node: Node) -> None:
    refuse(node.input(0).shape == node.output().shape, "its output has another shape")


def _check_relu(node: Node) -> None:
    bytes_or_floats(node.input(0), node.output())
    same_scale(node.input(0), node.output())
    _same_shape(node)


def _bind_relu(node: Node) -> BoundKernel:
    least = node.output().dtype.numpy.type(node.output().zero_point)
    return _over(lambda inputs: np.maximum(inputs[0], least))


def _check_add(node: Node) -> None:
    a, b, y = node.input(0), node.input(1), node.output()
    bytes_or_floats(a, b, y)
    refuse(a.shape == b.shape == y.shape, "dnnruntime adds tensors of one shape only")
    refuse(not (a.is_constant or b.is_constant), "dnnruntime adds no constant")
    activation(node)


def _bind_add(node: Node) -> BoundKernel:
    a, b, y = node.input(0), node.input(1), node.output()
    fused = activation(node)
    if is_float(y):
        least = np.float32(0.0 if fused == "RELU" else -np.inf)
        return _over(lambda inputs: np.maximum(inputs[0] + inputs[1], least))
    requantize = Requantization(y, fused)
    a_scale, b_scale = (np.float32(t.scale) / np.float32(y.scale) for t in (a, b))

    def run(inputs: Sequence[Array]) -> Array:
        left = (inputs[0].astype(np.int32) - a.zero_point).astype(np.float32) * a_scale
        right = (inputs[1].astype(np.int32) - b.zero_point).astype(np.float32) * b_scale
        return requantize(left + right)

    return _over(run)


def _add_calls(node: Node) -> Sequence[KernelCall]:
    (call,) = _named("add")(node)
    if is_float(node.output()) and activation(node) == "RELU":
        return call, relu_call(node.output().elements, True)
    return (call,)


def _check_softmax(node: Node) -> None:
    x, y = node.input(0), node.output()
    bytes_or_floats(x, y)
    refuse(len(x.shape) > 0 and x.elements == x.shape[-1], "dnnruntime softmaxes one vector")
    _same_shape(node)
    refuse(node.options.real("beta", 1.0) == 1.0, "dnnruntime's softmax has no beta")


def _bind_softmax(node: Node) -> BoundKernel:
    x, y = node.input(0), node.output()
    if is_float(y):
        return _over(lambda inputs: softmax(inputs[0]))
    requantize, scale = Requantization(y), np.float32(x.scale)
    units = np.float32(1.0) / np.float32(y.scale)

    def run(inputs: Sequence[Array]) -> Array:
        stored = inputs[0].astype(np.int32) - np.iinfo(x.dtype.numpy).min
        return requantize(softmax(stored.astype(np.float32) * scale) * units)

    return _over(run)


def _check_quantize(node: Node) -> None:
    refuse(is_float(node.input(0)), "dnnruntime quantizes float32 only")
    refuse(node.output().dtype in _BYTES, "dnnruntime quantizes to uint8 only")
    refuse(node.output().scale > 0.0, "its output has no scale")
    _same_shape(node)


def _bind_quantize(node: Node) -> BoundKernel:
    requantize, scale = Requantization(node.output()), np.float32(node.output().scale)
    return _over(lambda inputs: requantize(inputs[0] / scale))


def _check_dequantize(node: Node) -> None:
    refuse(node.input(0).dtype in _BYTES, "dnnruntime dequantizes uint8 only")
    refuse(is_float(node.output()), "dnnruntime dequantizes to float32 only")
    refuse(node.input(0).scale > 0.0, "its input has no scale")
    _same_shape(node)


def _bind_dequantize(node: Node) -> BoundKernel:
    x = node.input(0)
    scale = np.float32(x.scale)

    def run(inputs: Sequence[Array]) -> Array:
        return (inputs[0].astype(np.int32) - x.zero_point).astype(np.float32) * scale

    return _over(run)


def _check_reshape(node: Node) -> None:
    refuse(node.input(0).elements == node.output().elements, "it changes the number of elements")


def _bind_reshape(node: Node) -> BoundKernel:
    shape = node.output().shape
    return _over(lambda inputs: inputs[0].reshape(len(inputs[0]), *shape))


def _check_pad(node: Node) -> None:
    bytes_or_floats(node.input(0), node.output())
    same_scale(node.input(0), node.output())
    x, edges, y = node.input(0).shape, node.input(1).data, node.output().shape
    known = edges is not None and edges.shape == (len(x), 2)
    refuse(known and bool((np.asarray(edges) >= 0).all()), "its edges are no constant of pairs")
    padded = tuple(e + int(pair.sum()) for e, pair in zip(x, np.asarray(edges), strict=True))
    refuse(padded == y, f"its output is {y}, not {padded}")


def _bind_pad(node: Node) -> BoundKernel:
    edges = [(0, 0), *np.asarray(node.input(1).data).tolist()]
    outside = node.output().zero_point
    return _over(lambda inputs: np.pad(inputs[0], edges, constant_values=outside))


KERNELS = {
    "PAD": LibraryKernel(_check_pad, _bind_pad, lambda node: ()),
    "RELU": LibraryKernel(_check_relu, _bind_relu, _named("relu")),
    "ADD": LibraryKernel(_check_add, _bind_add, _add_calls),
    "SOFTMAX": LibraryKernel(_check_softmax, _bind_softmax, _named("softmax")),
    "QUANTIZE": LibraryKernel(
        _check_quantize, _bind_quantize, lambda node: (_element_call("quantize_f32", node),)
    ),
    "DEQUANTIZE": LibraryKernel(
        _check_dequantize, _bind_dequantize, lambda node: (_element_call("dequantize_u8", node),)
    ),
    "RESHAPE": LibraryKernel(_check_reshape, _bind_reshape, lambda node: ()),
}
