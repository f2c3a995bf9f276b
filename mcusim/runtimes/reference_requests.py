"""What memory ``Prepare`` of TFLite Micro's reference kernels asks for.

Source: ``Prepare`` in tflite-micro 90b983c, ``micro/kernels/*.cc``.
"""

from __future__ import annotations

from collections.abc import Iterator

from mcusim.graph import DType, Node, Tensor
from mcusim.runtimes.abi import Struct
from mcusim.runtimes.kernel_requests import Prepare, Request, Target, per_channel, scratch
from mcusim.runtimes.tflm_structs import EVAL_TENSOR, QUANTIZATION_BATCH_MATMUL

__all__ = ["PREPARE", "lstm_gates", "per_channel_fully_connected", "transpose_conv_int16"]


def _int_array_bytes(length: int) -> int:
    """``TfLiteIntArrayGetSizeInBytes``: a length and the elements."""
    return 4 + 4 * length


def _unpacked_weights(weights: Tensor) -> Iterator[Request]:
    if weights.dtype is DType.INT4:
        yield scratch("weights unpacked from int4", weights.elements)


def _output_dims(node: Node, _: Target) -> Iterator[Request]:
    """A copy of the output's dimensions that Prepare may change."""
    yield Request("output dimensions", _int_array_bytes(len(node.output().shape)))


def _conv(node: Node, _: Target) -> Iterator[Request]:
    weights = node.input(1)
    yield from per_channel(weights.shape[0])  # of a float operator too
    yield from _unpacked_weights(weights)


def _depthwise(node: Node, _: Target) -> Iterator[Request]:
    weights = node.input(1)
    yield from per_channel(weights.shape[3])
    yield from _unpacked_weights(weights)


def _fully_connected(node: Node, _: Target) -> Iterator[Request]:
    weights = node.input(1)
    yield from _unpacked_weights(weights)
    yield from per_channel_fully_connected(node)


def per_channel_fully_connected(node: Node) -> Iterator[Request]:
    quantization = node.input(1).quantization
    if (
        node.input(0).dtype is not DType.FLOAT32
        and quantization is not None
        and quantization.is_per_channel
    ):
        yield from per_channel(quantization.scales.size)


def _transpose_conv(node: Node, _: Target) -> Iterator[Request]:
    x = node.input(2)
    yield from per_channel(node.input(1).shape[0])
    if x.dtype is DType.INT8:
        yield scratch("int32 sums", 4 * node.output().elements)
    elif x.dtype is DType.INT16:
        yield from transpose_conv_int16(node)


def transpose_conv_int16(node: Node) -> Iterator[Request]:
    yield scratch("int64 sums", 8 * node.output().elements)
    bias = node.optional_input(3)
    if bias is not None and bias.dtype is DType.INT16:
        yield scratch("bias widened to int64", 8 * bias.elements)


def _batch_matmul(node: Node, target: Target) -> Iterator[Request]:
    lhs, rhs = node.input(0), node.input(1)
    if lhs.dtype in (DType.INT8, DType.INT16):
        yield Request("quantization", QUANTIZATION_BATCH_MATMUL.bytes(target.abi))
    if node.options.flag("adj_x"):
        yield from _transposed("left", lhs, target)
    if not node.options.flag("adj_y"):
        yield from _transposed("right", rhs, target)
    yield from _output_dims(node, target)


def _transposed(side: str, tensor: Tensor, target: Target) -> Iterator[Request]:
    yield Request(f"transposed {side} operand's header", EVAL_TENSOR.bytes(target.abi))
    yield Request(f"transposed {side} operand's dimensions", _int_array_bytes(len(tensor.shape)))
    yield Request(f"transposed {side} operand", tensor.bytes)


def _add_n(node: Node, target: Target) -> Iterator[Request]:
    if node.output().dtype is DType.INT8:
        yield Request("parameters", Struct("OpData", "10 int32").bytes(target.abi))
    yield scratch("pointers to the inputs", target.abi.pointer_bytes * len(node.inputs))


def _cumsum(node: Node, target: Target) -> Iterator[Request]:
    if node.output().dtype is DType.INT8:
        yield Request("parameters", Struct("OpData", "9 int32").bytes(target.abi))


def _log_softmax(node: Node, target: Target) -> Iterator[Request]:
    if node.input(0).dtype is DType.INT8:
        yield Request(
            "parameters", Struct("LogSoftmaxOpData", "5 int32", "2 pointer").bytes(target.abi)
        )


def _mirror_pad(node: Node, _: Target) -> Iterator[Request]:
    rank = len(node.input(0).shape)
    yield scratch("elements by output dimension", 4 * rank)
    yield scratch("elements by input dimension", 4 * rank)


def _mean_or_sum(node: Node, _: Target) -> Iterator[Request]:
    x = node.input(0)
    if x.dtype in (DType.INT8, DType.INT16):
        yield scratch("int32 sums", 4 * node.output().elements)
    yield from _reduce(node)


def _min_or_max(node: Node, _: Target) -> Iterator[Request]:
    yield from _reduce(node)


def _reduce(node: Node) -> Iterator[Request]:
    yield scratch("index of the input", 4 * len(node.input(0).shape))
    yield scratch("resolved axes", 4 * node.input(1).elements)


def _reshape(node: Node, target: Target) -> Iterator[Request]:
    if -1 in node.output().shape:
        yield from _output_dims(node, target)


def _softmax(node: Node, _: Target) -> Iterator[Request]:
    if node.input(0).dtype is DType.INT16:
        yield Request("table of exp(x)", 2 * _LUT_INT16)
        yield Request("table of 1 / (1 + x)", 2 * _LUT_INT16)


#: Entries of an int16 lookup table, ``LUTSize<int16_t>``.
_LUT_INT16 = 513


def _svdf(node: Node, _: Target) -> Iterator[Request]:
    batch, filters = node.input(0).shape[0], node.input(1).shape[0]
    yield scratch("activations", 4 * batch * filters)
    if node.input(0).dtype is DType.INT8:
        units = filters // max(node.options.integer("rank"), 1)
        yield scratch("int32 outputs", 4 * batch * units)


def _lstm(node: Node, _: Target) -> Iterator[Request]:
    return lstm_gates(node, 4)


def lstm_gates(node: Node, count: int) -> Iterator[Request]:
    x, hidden, cell = node.input(0), node.input(18), node.input(19)
    batch = x.shape[1] if node.options.flag("time_major") else x.shape[0]
    for number in range(count):
        yield scratch(f"gate {number}", batch * hidden.shape[1] * cell.dtype.numpy.itemsize)


PREPARE: dict[str, Prepare] = {
    "ADD_N": _add_n,
    "BATCH_MATMUL": _batch_matmul,
    "CONV_2D": _conv,
    "CUMSUM": _cumsum,
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEPTH_TO_SPACE": _output_dims,
    "FULLY_CONNECTED": _fully_connected,
    "GATHER": _output_dims,
    "GATHER_ND": _output_dims,
    "L2_POOL_2D": _output_dims,
    "LOG_SOFTMAX": _log_softmax,
    "MEAN": _mean_or_sum,
    "MIRROR_PAD": _mirror_pad,
    "REDUCE_ALL": _min_or_max,
    "REDUCE_MAX": _min_or_max,
    "REDUCE_MIN": _min_or_max,
    "RESHAPE": _reshape,
    "SOFTMAX": _softmax,
    "SPACE_TO_DEPTH": _output_dims,
    "SUM": _mean_or_sum,
    "SVDF": _svdf,
    "TRANSPOSE_CONV": _transpose_conv,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm,
}
