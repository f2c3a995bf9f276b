"""What memory each kernel of TFLite Micro asks for while the model is prepared.

``Init`` allocates a structure for the operator (:data:`~mcusim.runtimes.tflm_structs.OP_DATA`);
``Prepare`` may allocate more that persists, and request scratch buffers. Source: ``Init`` and
``Prepare`` in tflite-micro 90b983c, ``micro/kernels/*.cc`` and ``micro/kernels/cmsis_nn/*.cc``, the
latter built for speed (``KERNELS_OPTIMIZED_FOR_SPEED``, the Makefile's default).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from mcusim.graph import DType, Node, Tensor
from mcusim.kernels.cmsis_nn import buffers
from mcusim.kernels.cmsis_nn.buffers import ConvolutionShape, Simd
from mcusim.runtimes.abi import Abi, Struct
from mcusim.runtimes.tflm_structs import (
    EVAL_TENSOR,
    OP_DATA,
    OP_DATA_CMSIS_NN,
    QUANTIZATION_BATCH_MATMUL,
)

__all__ = ["Request", "Target", "op_data", "requests"]


@dataclass(frozen=True)
class Target:
    """What a kernel's memory depends on beside the model.

    Attributes:
        abi: sizes of structures.
        cmsis_nn: whether TFLM was built with the CMSIS-NN kernels.
        simd: the core's SIMD instructions, as CMSIS-NN sees them.
    """

    abi: Abi
    cmsis_nn: bool = False
    simd: Simd = "dsp"


@dataclass(frozen=True)
class Request:
    """Memory that a kernel asks for in ``Prepare``.

    Attributes:
        purpose: what it is for, in words.
        bytes: how much, before alignment.
        is_scratch: planned in the head, live only while the operator runs; else kept in the tail.
    """

    purpose: str
    bytes: int
    is_scratch: bool = False


_Prepare: TypeAlias = Callable[[Node, Target], Iterator[Request]]


def op_data(operator: str, target: Target) -> Struct | None:
    """The structure that ``Init`` of the operator allocates; None when there is none."""
    if target.cmsis_nn and operator in OP_DATA_CMSIS_NN:
        return OP_DATA_CMSIS_NN[operator]
    return OP_DATA.get(operator)


def requests(node: Node, target: Target) -> Iterator[Request]:
    """What ``Prepare`` of the node asks for, in order."""
    prepare = _CMSIS_NN.get(node.name) if target.cmsis_nn else None
    prepare = prepare or _REFERENCE.get(node.name)
    return iter(()) if prepare is None else prepare(node, target)


def _scratch(purpose: str, size: int) -> Request:
    return Request(purpose, size, is_scratch=True)


def _int_array_bytes(length: int) -> int:
    """``TfLiteIntArrayGetSizeInBytes``: a length and the elements."""
    return 4 + 4 * length


def _per_channel(channels: int) -> Iterator[Request]:
    yield Request("per-channel multipliers", 4 * channels)
    yield Request("per-channel shifts", 4 * channels)


def _unpacked_weights(weights: Tensor) -> Iterator[Request]:
    if weights.dtype is DType.INT4:
        yield _scratch("weights unpacked from int4", weights.elements)


def _output_dims(node: Node, _: Target) -> Iterator[Request]:
    """A copy of the output's dimensions that Prepare may change."""
    yield Request("output dimensions", _int_array_bytes(len(node.output().shape)))


# Reference kernels.


def _conv(node: Node, _: Target) -> Iterator[Request]:
    weights = node.input(1)
    yield from _per_channel(weights.shape[0])  # of a float operator too
    yield from _unpacked_weights(weights)


def _depthwise(node: Node, _: Target) -> Iterator[Request]:
    weights = node.input(1)
    yield from _per_channel(weights.shape[3])
    yield from _unpacked_weights(weights)


def _fully_connected(node: Node, _: Target) -> Iterator[Request]:
    weights = node.input(1)
    yield from _unpacked_weights(weights)
    yield from _per_channel_fully_connected(node)


def _per_channel_fully_connected(node: Node) -> Iterator[Request]:
    quantization = node.input(1).quantization
    if (
        node.input(0).dtype is not DType.FLOAT32
        and quantization is not None
        and quantization.is_per_channel
    ):
        yield from _per_channel(quantization.scales.size)


def _transpose_conv(node: Node, _: Target) -> Iterator[Request]:
    x = node.input(2)
    yield from _per_channel(node.input(1).shape[0])
    if x.dtype is DType.INT8:
        yield _scratch("int32 sums", 4 * node.output().elements)
    elif x.dtype is DType.INT16:
        yield from _transpose_conv_int16(node)


def _transpose_conv_int16(node: Node) -> Iterator[Request]:
    yield _scratch("int64 sums", 8 * node.output().elements)
    bias = node.optional_input(3)
    if bias is not None and bias.dtype is DType.INT16:
        yield _scratch("bias widened to int64", 8 * bias.elements)


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
    yield _scratch("pointers to the inputs", target.abi.pointer_bytes * len(node.inputs))


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
    yield _scratch("elements by output dimension", 4 * rank)
    yield _scratch("elements by input dimension", 4 * rank)


def _mean_or_sum(node: Node, _: Target) -> Iterator[Request]:
    x = node.input(0)
    if x.dtype in (DType.INT8, DType.INT16):
        yield _scratch("int32 sums", 4 * node.output().elements)
    yield from _reduce(node)


def _min_or_max(node: Node, _: Target) -> Iterator[Request]:
    yield from _reduce(node)


def _reduce(node: Node) -> Iterator[Request]:
    yield _scratch("index of the input", 4 * len(node.input(0).shape))
    yield _scratch("resolved axes", 4 * node.input(1).elements)


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
    yield _scratch("activations", 4 * batch * filters)
    if node.input(0).dtype is DType.INT8:
        units = filters // max(node.options.integer("rank"), 1)
        yield _scratch("int32 outputs", 4 * batch * units)


def _lstm(node: Node, _: Target) -> Iterator[Request]:
    return _gates(node, 4)


def _gates(node: Node, count: int) -> Iterator[Request]:
    x, hidden, cell = node.input(0), node.input(18), node.input(19)
    batch = x.shape[1] if node.options.flag("time_major") else x.shape[0]
    for number in range(count):
        yield _scratch(f"gate {number}", batch * hidden.shape[1] * cell.dtype.numpy.itemsize)


_REFERENCE: dict[str, _Prepare] = {
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


# CMSIS-NN kernels, where they ask for something else.


def _shape(node: Node, x: Tensor, out: Tensor, kernel_c: int) -> ConvolutionShape:
    weights, options = node.input(1), node.options
    stride_h, stride_w = options.integer("stride_h", 1), options.integer("stride_w", 1)
    dilation_h = options.integer("dilation_h_factor", 1)
    dilation_w = options.integer("dilation_w_factor", 1)
    same = options.text("padding", "SAME") == "SAME"
    batches, in_h, in_w, in_c = x.shape
    return ConvolutionShape(
        batches,
        in_h,
        in_w,
        in_c,
        kernel_h=weights.shape[1],
        kernel_w=weights.shape[2],
        kernel_c=kernel_c,
        out_w=out.shape[2],
        out_c=out.shape[3],
        stride_h=stride_h,
        stride_w=stride_w,
        pad_h=_pad(x.shape[1], weights.shape[1], stride_h, dilation_h) if same else 0,
        pad_w=_pad(x.shape[2], weights.shape[2], stride_w, dilation_w) if same else 0,
        dilation_h=dilation_h,
        dilation_w=dilation_w,
    )


def _pad(extent: int, taps: int, stride: int, dilation: int) -> int:
    """Padding in front for ``SAME``: ``ComputePaddingWithOffset``."""
    span = (taps - 1) * dilation + 1
    return max((-(-extent // stride) - 1) * stride + span - extent, 0) // 2


def _buffer(size: int) -> Iterator[Request]:
    if size > 0:
        yield _scratch("kernel buffer", size)


def _is_quantized(tensor: Tensor) -> bool:
    return tensor.dtype in (DType.INT8, DType.INT16)


def _conv_cmsis_nn(node: Node, target: Target) -> Iterator[Request]:
    x, weights = node.input(0), node.input(1)
    if not _is_quantized(x):
        return
    yield from _per_channel(weights.shape[0])
    # Prepare looks for the bias among the outputs and so never sees its type: int16 with any bias
    # gets a buffer.
    shape = _shape(node, x, node.output(), weights.shape[3])
    if x.dtype is DType.INT8:
        yield from _buffer(buffers.convolve_wrapper_s8_bytes(shape, target.simd))
    else:
        yield from _buffer(buffers.convolve_s16_bytes(shape, target.simd))


def _depthwise_cmsis_nn(node: Node, target: Target) -> Iterator[Request]:
    x, weights = node.input(0), node.input(1)
    if not _is_quantized(x):
        return
    yield from _per_channel(weights.shape[3])
    if x.dtype is DType.INT8:
        shape = _shape(node, x, node.output(), 1)
        int4 = weights.dtype is DType.INT4
        size = buffers.depthwise_wrapper_s4_bytes if int4 else buffers.depthwise_wrapper_s8_bytes
        yield from _buffer(size(shape, target.simd))


def _fully_connected_cmsis_nn(node: Node, target: Target) -> Iterator[Request]:
    x, weights, out = node.input(0), node.input(1), node.output()
    yield from _per_channel_fully_connected(node)
    if x.dtype is not DType.INT8 or weights.dtype is DType.INT4:
        return
    outputs = out.shape[-1]
    if len(out.shape) > 2 and weights.shape[-1] % 4 == 0:
        # Run as a 1x1 convolution, for which a per-tensor multiplier is repeated by channel.
        if weights.quantization is None or not weights.quantization.is_per_channel:
            yield _scratch("multiplier and shift by channel", 2 * 4 * outputs)
        return
    size = buffers.fully_connected_s8_bytes(outputs, target.simd)
    bias = node.optional_input(2)
    if size and weights.is_constant and (bias is None or bias.is_constant):
        yield Request("sums of the weights", size)
    else:
        yield from _buffer(size)


def _transpose_conv_cmsis_nn(node: Node, target: Target) -> Iterator[Request]:
    weights, x = node.input(1), node.input(2)
    yield from _per_channel(weights.shape[0])
    if x.dtype is DType.INT8:
        shape = _shape(node, x, node.output(), weights.shape[3])
        yield _scratch("kernel buffer", buffers.transpose_conv_s8_bytes(shape, target.simd))
        yield _scratch("reversed weights", buffers.transpose_conv_s8_reverse_bytes(shape))
    elif x.dtype is DType.INT16:
        yield from _transpose_conv_int16(node)


def _batch_matmul_cmsis_nn(node: Node, target: Target) -> Iterator[Request]:
    yield from _batch_matmul(node, target)
    if node.input(0).dtype is DType.INT8:
        # The size function is handed the output's shape as if it were the weights'.
        yield from _buffer(buffers.fully_connected_s8_bytes(node.output().shape[-1], target.simd))


def _average_pool_cmsis_nn(node: Node, target: Target) -> Iterator[Request]:
    if _is_quantized(node.input(0)):
        yield from _buffer(buffers.avgpool_bytes(node.output().shape[3], target.simd))


def _svdf_cmsis_nn(node: Node, target: Target) -> Iterator[Request]:
    yield from _svdf(node, target)
    if node.input(0).dtype is DType.INT8:
        size = buffers.svdf_s8_bytes(node.input(1).shape[0], target.simd)
        if size:
            yield Request("sums of the weights", size)


def _lstm_cmsis_nn(node: Node, _: Target) -> Iterator[Request]:
    x, hidden, cell = node.input(0), node.input(18), node.input(19)
    if not _is_quantized(x) or cell.dtype is not DType.INT16:
        yield from _gates(node, 4)
        return
    sum_bytes = 4 if x.dtype is DType.INT8 else 8
    for source in ("input", "hidden state"):
        for gate in ("input", "forget", "cell", "output"):
            yield Request(
                f"sums of the {gate} gate's weights for the {source}",
                sum_bytes * hidden.shape[1],
            )
    yield from _gates(node, 3)


_CMSIS_NN: dict[str, _Prepare] = {
    "AVERAGE_POOL_2D": _average_pool_cmsis_nn,
    "BATCH_MATMUL": _batch_matmul_cmsis_nn,
    "CONV_2D": _conv_cmsis_nn,
    "DEPTHWISE_CONV_2D": _depthwise_cmsis_nn,
    "FULLY_CONNECTED": _fully_connected_cmsis_nn,
    "SVDF": _svdf_cmsis_nn,
    "TRANSPOSE_CONV": _transpose_conv_cmsis_nn,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm_cmsis_nn,
}
