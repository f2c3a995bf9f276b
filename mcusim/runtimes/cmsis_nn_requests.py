"""What memory ``Prepare`` of TFLite Micro's CMSIS-NN kernels asks for.

Source: ``Prepare`` in tflite-micro 90b983c, ``micro/kernels/cmsis_nn/*.cc``, built for speed
(``KERNELS_OPTIMIZED_FOR_SPEED``, the Makefile's default).
"""

from __future__ import annotations

from collections.abc import Iterator

from mcusim.graph import DType, Node, Tensor
from mcusim.kernels.cmsis_nn import buffers
from mcusim.kernels.cmsis_nn.buffers import ConvolutionShape
from mcusim.runtimes.kernel_requests import Prepare, Request, Target, per_channel, scratch
from mcusim.runtimes.reference_requests import PREPARE as PREPARE_REFERENCE
from mcusim.runtimes.reference_requests import (
    lstm_gates,
    per_channel_fully_connected,
    transpose_conv_int16,
)

__all__ = ["PREPARE"]


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
        yield scratch("kernel buffer", size)


def _is_quantized(tensor: Tensor) -> bool:
    return tensor.dtype in (DType.INT8, DType.INT16)


def _conv_cmsis_nn(node: Node, target: Target) -> Iterator[Request]:
    x, weights = node.input(0), node.input(1)
    if not _is_quantized(x):
        return
    yield from per_channel(weights.shape[0])
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
    yield from per_channel(weights.shape[3])
    if x.dtype is DType.INT8:
        shape = _shape(node, x, node.output(), 1)
        int4 = weights.dtype is DType.INT4
        size = buffers.depthwise_wrapper_s4_bytes if int4 else buffers.depthwise_wrapper_s8_bytes
        yield from _buffer(size(shape, target.simd))


def _fully_connected_cmsis_nn(node: Node, target: Target) -> Iterator[Request]:
    x, weights, out = node.input(0), node.input(1), node.output()
    yield from per_channel_fully_connected(node)
    if x.dtype is not DType.INT8 or weights.dtype is DType.INT4:
        return
    outputs = out.shape[-1]
    if len(out.shape) > 2 and weights.shape[-1] % 4 == 0:
        # Run as a 1x1 convolution, for which a per-tensor multiplier is repeated by channel.
        if weights.quantization is None or not weights.quantization.is_per_channel:
            yield scratch("multiplier and shift by channel", 2 * 4 * outputs)
        return
    size = buffers.fully_connected_s8_bytes(outputs, target.simd)
    bias = node.optional_input(2)
    if size and weights.is_constant and (bias is None or bias.is_constant):
        yield Request("sums of the weights", size)
    else:
        yield from _buffer(size)


def _transpose_conv_cmsis_nn(node: Node, target: Target) -> Iterator[Request]:
    weights, x = node.input(1), node.input(2)
    yield from per_channel(weights.shape[0])
    if x.dtype is DType.INT8:
        shape = _shape(node, x, node.output(), weights.shape[3])
        yield scratch("kernel buffer", buffers.transpose_conv_s8_bytes(shape, target.simd))
        yield scratch("reversed weights", buffers.transpose_conv_s8_reverse_bytes(shape))
    elif x.dtype is DType.INT16:
        yield from transpose_conv_int16(node)


def _batch_matmul_cmsis_nn(node: Node, target: Target) -> Iterator[Request]:
    yield from PREPARE_REFERENCE["BATCH_MATMUL"](node, target)
    if node.input(0).dtype is DType.INT8:
        # The size function is handed the output's shape as if it were the weights'.
        yield from _buffer(buffers.fully_connected_s8_bytes(node.output().shape[-1], target.simd))


def _average_pool_cmsis_nn(node: Node, target: Target) -> Iterator[Request]:
    if _is_quantized(node.input(0)):
        yield from _buffer(buffers.avgpool_bytes(node.output().shape[3], target.simd))


def _svdf_cmsis_nn(node: Node, target: Target) -> Iterator[Request]:
    yield from PREPARE_REFERENCE["SVDF"](node, target)
    if node.input(0).dtype is DType.INT8:
        size = buffers.svdf_s8_bytes(node.input(1).shape[0], target.simd)
        if size:
            yield Request("sums of the weights", size)


def _lstm_cmsis_nn(node: Node, _: Target) -> Iterator[Request]:
    x, hidden, cell = node.input(0), node.input(18), node.input(19)
    if not _is_quantized(x) or cell.dtype is not DType.INT16:
        yield from lstm_gates(node, 4)
        return
    sum_bytes = 4 if x.dtype is DType.INT8 else 8
    for source in ("input", "hidden state"):
        for gate in ("input", "forget", "cell", "output"):
            yield Request(
                f"sums of the {gate} gate's weights for the {source}",
                sum_bytes * hidden.shape[1],
            )
    yield from lstm_gates(node, 3)


PREPARE: dict[str, Prepare] = {
    "AVERAGE_POOL_2D": _average_pool_cmsis_nn,
    "BATCH_MATMUL": _batch_matmul_cmsis_nn,
    "CONV_2D": _conv_cmsis_nn,
    "DEPTHWISE_CONV_2D": _depthwise_cmsis_nn,
    "FULLY_CONNECTED": _fully_connected_cmsis_nn,
    "SVDF": _svdf_cmsis_nn,
    "TRANSPOSE_CONV": _transpose_conv_cmsis_nn,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm_cmsis_nn,
}
