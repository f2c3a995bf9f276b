"""How each ONNX operator becomes one of a Graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from mcusim.graph import Array, DType, OptionValue, Quantization
from mcusim.onnx.chains import Chain, scale_of
from mcusim.onnx.file import OnnxNode
from mcusim.onnx.reader import Reading
from mcusim.onnx.values import Value, Weights
from mcusim.onnx.windows import Window, window_of

__all__ = ["READERS"]


def _convolution(reading: Reading, node: OnnxNode) -> None:
    chain = reading.chains.behind(node, fold=True, merge=True)
    x, weights, bias = reading.input(node), reading.required(node, 1), reading.constant(node, 2)
    _convolve(reading, node, chain, x, weights, bias)


def _quantized_convolution(reading: Reading, node: OnnxNode) -> None:
    """QLinearConv: x, its scale and zero point, w with both, those of y, and an int32 bias."""
    scale = scale_of(node, reading.constants, 6)
    own = scale_of(node, reading.constants, 4)
    stored = reading.required(node, 3).data
    weights = Weights(stored, replace(own, axis=0))
    chain = Chain(node.outputs[0], scale=scale)
    _convolve(
        reading, node, chain, _stored_input(reading, node), weights, reading.constant(node, 8)
    )


def _stored_input(reading: Reading, node: OnnxNode) -> Value:
    """The first input of an operator on stored values."""
    x = reading.input(node)
    node.refuse(x.is_view, "its input is not quantized")
    return x


def _convolve(
    reading: Reading,
    node: OnnxNode,
    chain: Chain,
    x: Value,
    weights: Weights,
    bias: Weights | None,
) -> None:
    node.refuse(len(x.shape) == 4 and weights.data.ndim == 4, "it convolves other than images")
    filters, depth = weights.data.shape[:2]
    node.refuse(
        node.integer("group", 1) == 1 and depth == x.shape[1],
        "it convolves in groups, which no runtime of mcusim that reads ONNX does",
    )
    window = window_of(node, (x.shape[2], x.shape[3]), weights.data.shape[2:])
    operand = _product_operand(reading, chain, x, weights)
    filled = _padded(reading, node, operand, window)
    constants = _filters(reading, chain, operand, weights, bias, (0, 2, 3, 1))
    options: dict[str, OptionValue] = {
        "padding": window.padding or "VALID",
        "stride_h": window.stride[0],
        "stride_w": window.stride[1],
        "dilation_h_factor": 1,
        "dilation_w_factor": 1,
        "fused_activation_function": chain.activation,
    }
    reading.emit(
        chain,
        [operand],
        (1, filters, *window.out),
        lambda y: reading.building.operator(
            "CONV_2D", [filled.tensor, *constants], y, options, "Conv2DOptions"
        ),
    )


def _product_operand(reading: Reading, chain: Chain, x: Value, weights: Weights) -> Value:
    """The input as stored where weights and result are quantized, too; else as float32."""
    if chain.scale is not None and weights.scale is not None and chain.factor is None:
        return x
    return reading.building.as_float(x)


def _padded(reading: Reading, node: OnnxNode, x: Value, window: Window) -> Value:
    """The image with edges of its own, where neither SAME nor VALID says them."""
    if window.padding:
        return x
    _, channels, height, width = x.shape
    (top, left), (bottom, right) = window.before, window.after
    shape = (1, channels, height + top + bottom, width + left + right)
    scale = reading.building.full_scale(x)
    value = reading.building.activation(f"{node.name or node.outputs[0]} padded", shape, scale)
    edges = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
    paddings = reading.building.constant("paddings", edges)
    reading.building.operator("PAD", [x.tensor, paddings], value, {}, "PadOptions")
    return replace(value, is_view=x.is_view)


def _filters(
    reading: Reading,
    chain: Chain,
    x: Value,
    weights: Weights,
    bias: Weights | None,
    order: tuple[int, ...],
) -> list[int]:
    """Weights and bias as constants; integers where the operator is one of integers."""
    rows = weights.data.shape[0]
    if x.is_view and weights.scale is not None:
        own = weights.scale.quantization
        data = weights.data.transpose(order)
        sums = np.float32(reading.building.scale(x)) * own.scales
        stored = np.zeros(rows, np.int32) if bias is None else _as_sums(bias, sums)
        points = np.zeros(sums.size, np.int64)
        return [
            reading.building.constant("weights", data, replace(own, axis=0)),
            reading.building.constant("bias", stored, Quantization(sums, points, 0)),
        ]
    real = weights.real
    offset = np.zeros(rows, np.float32) if bias is None else bias.real
    if chain.factor is not None and chain.offset is not None:
        real = real * chain.factor.reshape(-1, *[1] * (real.ndim - 1))
        offset = offset * chain.factor + chain.offset
    return [
        reading.building.constant("weights", real.transpose(order).astype(np.float32)),
        reading.building.constant("bias", offset.astype(np.float32)),
    ]


def _as_sums(bias: Weights, scales: Array) -> Array:
    """A bias in units of the sums."""
    if bias.data.dtype == np.int32:
        return bias.data
    found: Array = np.rint(bias.real / scales).astype(np.int32)
    return found


def _dense(reading: Reading, node: OnnxNode) -> None:
    """Gemm, with its weights as rows or columns."""
    node.refuse(
        node.real("alpha", 1.0) == node.real("beta", 1.0) == 1.0 and not node.integer("transA", 0),
        "it scales or transposes",
    )
    chain = reading.chains.behind(node, fold=True, merge=True)
    weights = reading.required(node, 1)
    if not node.integer("transB", 0):
        weights = _transposed(weights)
    _multiply(reading, node, chain, reading.input(node), weights, reading.constant(node, 2))


def _product(reading: Reading, node: OnnxNode) -> None:
    """MatMul of a vector with a constant matrix."""
    chain = reading.chains.behind(node, fold=True, merge=True)
    weights = _transposed(reading.required(node, 1))
    _multiply(reading, node, chain, reading.input(node), weights, None)


def _quantized_product(reading: Reading, node: OnnxNode) -> None:
    """QLinearMatMul: a with scale and zero point, b with both, those of y."""
    own = scale_of(node, reading.constants, 4)
    weights = _transposed(Weights(reading.required(node, 3).data, replace(own, axis=1)))
    chain = Chain(node.outputs[0], scale=scale_of(node, reading.constants, 6))
    _multiply(reading, node, chain, _stored_input(reading, node), weights, None)


def _quantized_dense(reading: Reading, node: OnnxNode) -> None:
    """QGemm of onnxruntime: a with scale and zero point, b with both, int32 bias, those of y."""
    node.refuse(
        node.real("alpha", 1.0) == 1.0 and not node.integer("transA", 0), "it scales or transposes"
    )
    is_rows = bool(node.integer("transB", 0))
    own = replace(scale_of(node, reading.constants, 4), axis=0 if is_rows else 1)
    weights = Weights(reading.required(node, 3).data, own)
    chain = Chain(node.outputs[0], scale=scale_of(node, reading.constants, 7))
    x, bias = _stored_input(reading, node), reading.constant(node, 6)
    _multiply(reading, node, chain, x, weights if is_rows else _transposed(weights), bias)


def _transposed(weights: Weights) -> Weights:
    scale = weights.scale
    return Weights(weights.data.T, scale and replace(scale, axis=1 - scale.axis))


def _multiply(
    reading: Reading,
    node: OnnxNode,
    chain: Chain,
    x: Value,
    weights: Weights,
    bias: Weights | None,
) -> None:
    node.refuse(len(x.shape) == 2 and weights.data.ndim == 2, "it multiplies other than vectors")
    operand = _product_operand(reading, chain, x, weights)
    if x.image is not None:
        height, width, channels = x.image
        as_images = weights.data.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
        weights = replace(weights, data=as_images.reshape(weights.data.shape))
    constants = _filters(reading, chain, operand, weights, bias, (0, 1))
    reading.emit(
        chain,
        [operand],
        (1, weights.data.shape[0]),
        lambda y: reading.building.operator(
            "FULLY_CONNECTED",
            [operand.tensor, *constants],
            y,
            {"fused_activation_function": chain.activation, "weights_format": "DEFAULT"},
            "FullyConnectedOptions",
        ),
    )


def _picked(reading: Reading, chain: Chain, x: Value) -> Chain:
    """The chain of an operator that only picks values: stored ones stay as they are stored."""
    if x.is_view and chain.scale is None:
        return replace(chain, scale=reading.building.full_scale(x))
    return chain


def _own_chain(reading: Reading, node: OnnxNode, scale_at: int, merge: bool = False) -> Chain:
    """What follows an operator; that of a quantized one holds its own scale of the result.

    Args:
        reading: the graph so far.
        node: the operator.
        scale_at: input that is the scale of the result; 0 for an operator on real values.
        merge: whether a ReLU behind it becomes part of it.
    """
    if scale_at:
        return Chain(node.outputs[0], scale=scale_of(node, reading.constants, scale_at))
    return reading.chains.behind(node, fold=False, merge=merge)


def _pool(
    operator: str, whole: bool = False, scale_at: int = 0
) -> Callable[[Reading, OnnxNode], None]:
    def read(reading: Reading, node: OnnxNode) -> None:
        chain = _own_chain(reading, node, scale_at)
        x = reading.input(node)
        node.refuse(len(x.shape) == 4, "it pools other than images")
        extent = (x.shape[2], x.shape[3])
        kernel = extent if whole else node.integers("kernel_shape", ())
        window = window_of(node, extent, kernel)
        node.refuse(bool(window.padding), "it pads otherwise than SAME or VALID")
        node.refuse(
            operator == "MAX_POOL_2D"
            or window.padding == "VALID"
            or not node.integer("count_include_pad", 0),
            "its averages count the padding",
        )
        if operator == "MAX_POOL_2D":
            chain = _picked(reading, chain, x)
        (operand,) = reading.operands(chain, [x])
        options: dict[str, OptionValue] = {
            "padding": window.padding,
            "stride_h": window.stride[0],
            "stride_w": window.stride[1],
            "filter_height": window.kernel[0],
            "filter_width": window.kernel[1],
            "fused_activation_function": "NONE",
        }
        reading.emit(
            chain,
            [operand],
            (1, x.shape[1], *window.out),
            lambda y: reading.building.operator(
                operator, [operand.tensor], y, options, "Pool2DOptions"
            ),
        )

    return read


def _flatten(reading: Reading, node: OnnxNode) -> None:
    chain = reading.chains.behind(node, fold=False, merge=False)
    x = reading.input(node)
    features = int(np.prod(x.shape[1:]))
    if node.operator == "Flatten":
        node.refuse(node.integer("axis", 1) == 1, "it flattens more than one image")
    else:
        wanted = [int(extent) for extent in reading.required(node, 1).data.ravel()]
        node.refuse(
            len(wanted) == 2 and wanted[1] in (features, -1), f"it reshapes {x.shape} to {wanted}"
        )
    chain = _picked(reading, chain, x)
    (operand,) = reading.operands(chain, [x])
    image = x.image
    if len(x.shape) == 4 and x.shape[2:] != (1, 1) and x.shape[1] > 1:
        image = (x.shape[2], x.shape[3], x.shape[1])
    shape = reading.building.constant("shape", np.array([1, features], np.int32))
    reading.emit(
        chain,
        [operand],
        (1, features),
        lambda y: reading.building.operator(
            "RESHAPE", [operand.tensor, shape], y, {}, "ReshapeOptions"
        ),
        image,
    )


def _add(reading: Reading, node: OnnxNode) -> None:
    chain = _own_chain(reading, node, 0, merge=True)
    _sum(reading, node, chain, reading.input(node, 0), reading.input(node, 1))


def _quantized_add(reading: Reading, node: OnnxNode) -> None:
    """QLinearAdd of onnxruntime: a with scale and zero point, b with both, those of y."""
    chain = _own_chain(reading, node, 6)
    _sum(reading, node, chain, _stored_input(reading, node), reading.input(node, 3))


def _sum(reading: Reading, node: OnnxNode, chain: Chain, a: Value, b: Value) -> None:
    node.refuse(a.shape == b.shape and a.image == b.image, "it adds values of different shapes")
    left, right = reading.operands(chain, [a, b])
    options: dict[str, OptionValue] = {"fused_activation_function": chain.activation}
    reading.emit(
        chain,
        [left, right],
        a.shape,
        lambda y: reading.building.operator(
            "ADD", [left.tensor, right.tensor], y, options, "AddOptions"
        ),
        a.image,
    )


def _elementwise(
    operator: str, options: dict[str, OptionValue], options_type: str, scale_at: int = 0
) -> Callable[[Reading, OnnxNode], None]:
    def read(reading: Reading, node: OnnxNode) -> None:
        chain = _own_chain(reading, node, scale_at)
        x = reading.input(node)
        if operator == "SOFTMAX":
            axis = node.integer("axis", -1)
            node.refuse(
                len(x.shape) == 2 and axis in (-1, 1) and x.image is None,
                "it is of other than a vector",
            )
        (operand,) = reading.operands(chain, [x])
        reading.emit(
            chain,
            [operand],
            x.shape,
            lambda y: reading.building.operator(
                operator, [operand.tensor], y, options, options_type
            ),
            x.image,
        )

    return read


def _same(reading: Reading, node: OnnxNode) -> None:
    """Identity and Dropout, which do nothing."""
    reading.set(node.outputs[0], reading.input(node))


def _quantize(reading: Reading, node: OnnxNode) -> None:
    x = reading.input(node)
    scale = scale_of(node, reading.constants, 1)
    node.refuse(scale.scales.size == 1, "it quantizes an activation by channels")
    stored = reading.building.quantized(reading.building.as_float(x), scale)
    reading.set(node.outputs[0], replace(stored, is_view=True))


def _dequantize(reading: Reading, node: OnnxNode) -> None:
    found = reading.weights.get(node.inputs[0])
    if found is not None:
        scale = scale_of(node, reading.constants, 1)
        if found.data.dtype == np.int32 and len(node.inputs) < 3:
            scale = replace(scale, zero_points=np.zeros(1, np.int64), dtype=DType.INT32)
        reading.weights[node.outputs[0]] = Weights(found.data, scale)
        return
    reading.set(node.outputs[0], reading.input(node))


READERS: Mapping[str, Callable[[Reading, OnnxNode], None]] = {
    "Add": _add,
    "AveragePool": _pool("AVERAGE_POOL_2D"),
    "Conv": _convolution,
    "DequantizeLinear": _dequantize,
    "Dropout": _same,
    "Flatten": _flatten,
    "Gemm": _dense,
    "GlobalAveragePool": _pool("AVERAGE_POOL_2D", whole=True),
    "Identity": _same,
    "MatMul": _product,
    "MaxPool": _pool("MAX_POOL_2D"),
    "QGemm": _quantized_dense,
    "QLinearAdd": _quantized_add,
    "QLinearAveragePool": _pool("AVERAGE_POOL_2D", scale_at=3),
    "QLinearConv": _quantized_convolution,
    "QLinearGlobalAveragePool": _pool("AVERAGE_POOL_2D", whole=True, scale_at=3),
    "QLinearMatMul": _quantized_product,
    "QLinearSoftmax": _elementwise("SOFTMAX", {"beta": 1.0}, "SoftmaxOptions", scale_at=3),
    "QuantizeLinear": _quantize,
    "Relu": _elementwise("RELU", {}, "NONE"),
    "Reshape": _flatten,
    "Softmax": _elementwise("SOFTMAX", {"beta": 1.0}, "SoftmaxOptions"),
}
