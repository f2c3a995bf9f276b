"""Scratch buffers of the CMSIS-NN kernels, in bytes.

Source: CMSIS-NN 4ab83cc (2026), the ``arm_*_get_buffer_size`` functions of the same names, compiled
by GCC. What a kernel needs depends on the core's SIMD instructions: ``"none"`` (M0, M0+, M3),
``"dsp"`` (M4, M7, M33 with DSP) or ``"mve"`` (M55, M85).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

__all__ = [
    "ConvolutionShape",
    "Simd",
    "avgpool_bytes",
    "convolve_s8_bytes",
    "convolve_s16_bytes",
    "convolve_wrapper_s8_bytes",
    "depthwise_wrapper_s4_bytes",
    "depthwise_wrapper_s8_bytes",
    "fully_connected_s8_bytes",
    "svdf_s8_bytes",
    "transpose_conv_s8_bytes",
    "transpose_conv_s8_reverse_bytes",
]

Simd: TypeAlias = Literal["none", "dsp", "mve"]

#: Input channels up to which ``arm_transpose_conv_s8`` scatters instead of reversing the filter.
_REVERSE_TRANSPOSE_CONV_ABOVE = 16
#: Channels that the MVE depthwise kernel gathers at a time.
_CHANNELS_PER_BLOCK_MVE = 124


@dataclass(frozen=True)
class ConvolutionShape:
    """A convolution as CMSIS-NN's size functions see it.

    Attributes:
        batches: of the input.
        in_h: rows of the input.
        in_w: columns of the input.
        in_c: channels of the input.
        kernel_h: rows of the filter.
        kernel_w: columns of the filter.
        kernel_c: channels of the filter: fewer than the input's in a grouped convolution.
        out_w: columns of the output.
        out_c: channels of the output.
        stride_h: vertical stride.
        stride_w: horizontal stride.
        pad_h: rows of padding above.
        pad_w: columns of padding on the left.
        dilation_h: vertical dilation.
        dilation_w: horizontal dilation.
    """

    batches: int
    in_h: int
    in_w: int
    in_c: int
    kernel_h: int
    kernel_w: int
    kernel_c: int
    out_w: int
    out_c: int
    stride_h: int = 1
    stride_w: int = 1
    pad_h: int = 0
    pad_w: int = 0
    dilation_h: int = 1
    dilation_w: int = 1

    @property
    def is_1x1(self) -> bool:
        """``arm_nn_is_convolve_1x1``: one tap, no padding, no dilation, one group."""
        return (
            (self.pad_h, self.pad_w) == (0, 0)
            and (self.kernel_h, self.kernel_w) == (1, 1)
            and (self.dilation_h, self.dilation_w) == (1, 1)
            and self.kernel_c == self.in_c
        )

    @property
    def is_1_x_n(self) -> bool:
        """``arm_nn_is_convolve_1_x_n``: one row, with steps of whole words through the input."""
        return (
            self.in_h == 1
            and self.dilation_w == 1
            and self.kernel_h == 1
            and (self.stride_w * self.in_c) % 4 == 0
            and self.in_c == self.kernel_c
        )

    @property
    def _column(self) -> int:
        return self.kernel_h * self.kernel_w * self.in_c


def convolve_s8_bytes(shape: ConvolutionShape, simd: Simd) -> int:
    """``arm_convolve_s8_get_buffer_size``: two int16 columns, or four int8 ones with MVE."""
    if simd == "mve":
        return 4 * 16 * -(-shape._column // 16)
    return 2 * 2 * 4 * -(-shape._column // 4)


def convolve_wrapper_s8_bytes(shape: ConvolutionShape, simd: Simd) -> int:
    """``arm_convolve_wrapper_s8_get_buffer_size``."""
    if shape.is_1x1:
        return 0
    if simd == "mve" and shape.is_1_x_n:
        return _convolve_1_x_n_mve_bytes(shape)
    return convolve_s8_bytes(shape, simd)


def _convolve_1_x_n_mve_bytes(shape: ConvolutionShape) -> int:
    stride, pad = shape.stride_w, shape.pad_w
    total_pad = (shape.out_w - 1) * stride + shape.kernel_w - shape.in_w
    odd = total_pad - 2 * int(total_pad / 2)  # C's remainder keeps the sign
    right = max(1, int((pad + odd + stride - 1) / stride)) if pad + odd != 0 else 0
    left = max(1, (pad + stride - 1) // stride) if pad else 0
    if right + left + max(shape.out_w - right - left, 0) != shape.out_w:
        return convolve_s8_bytes(shape, "mve")
    channels = shape.in_c
    pad_right = right * channels if odd else pad * channels
    window = shape.kernel_w * channels
    return max(window + pad * channels, window - channels + pad_right)


def convolve_s16_bytes(shape: ConvolutionShape, simd: Simd) -> int:
    """``arm_convolve_wrapper_s16_get_buffer_size``: columns of int16."""
    if simd == "mve":
        return 4 * 8 * 2 * -(-shape._column // 8)
    return 2 * 2 * shape._column


def depthwise_wrapper_s8_bytes(shape: ConvolutionShape, simd: Simd) -> int:
    """``arm_depthwise_conv_wrapper_s8_get_buffer_size``."""
    taps = shape.kernel_h * shape.kernel_w
    if simd == "mve" and shape.in_c == 1 and shape.out_c > 1:
        # One input channel: the weights are transposed and a convolution runs.
        as_convolution = replace(shape, kernel_c=1)
        return convolve_wrapper_s8_bytes(as_convolution, "mve") + shape.out_c * taps
    if not _one_filter_per_channel(shape):
        return 0
    small = (shape.kernel_h, shape.kernel_w) == (3, 3) and shape.pad_h <= 1 and shape.pad_w <= 1
    if simd == "none" or (simd == "dsp" and small):
        return 0
    return _depthwise_opt_bytes(shape, simd)


def depthwise_wrapper_s4_bytes(shape: ConvolutionShape, simd: Simd) -> int:
    """``arm_depthwise_conv_wrapper_s4_get_buffer_size``: the same on every core without MVE."""
    return _depthwise_opt_bytes(shape, simd) if _one_filter_per_channel(shape) else 0


def _one_filter_per_channel(shape: ConvolutionShape) -> bool:
    return (
        shape.in_c == shape.out_c
        and shape.batches == 1
        and (shape.dilation_h, shape.dilation_w) == (1, 1)
    )


def _depthwise_opt_bytes(shape: ConvolutionShape, simd: Simd) -> int:
    taps = shape.kernel_h * shape.kernel_w
    return 4 * _CHANNELS_PER_BLOCK_MVE * taps if simd == "mve" else 2 * shape.in_c * taps


def fully_connected_s8_bytes(outputs: int, simd: Simd) -> int:
    """``arm_fully_connected_s8_get_buffer_size``: sums of the weights, only with MVE."""
    return 4 * outputs if simd == "mve" else 0


def svdf_s8_bytes(filters: int, simd: Simd) -> int:
    """``arm_svdf_s8_get_buffer_size``: sums of the weights, only with MVE."""
    return 4 * filters if simd == "mve" else 0


def avgpool_bytes(channels: int, simd: Simd) -> int:
    """``arm_avgpool_s8_get_buffer_size`` and its s16 twin: sums of one pixel, only with DSP."""
    return 4 * channels if simd == "dsp" else 0


def transpose_conv_s8_bytes(shape: ConvolutionShape, simd: Simd) -> int:
    """``arm_transpose_conv_s8_get_buffer_size``: columns, or rows of int32 sums of the output.

    The library takes the vertical stride where the width asks for the horizontal one.
    """
    if _reverses_filter(shape):
        return convolve_s8_bytes(shape, simd)
    columns = (shape.in_w - 1) * shape.stride_w + max(shape.kernel_w, shape.stride_h)
    return 4 * columns * shape.out_c * max(shape.kernel_h, shape.stride_h)


def transpose_conv_s8_reverse_bytes(shape: ConvolutionShape) -> int:
    """``arm_transpose_conv_s8_get_reverse_conv_buffer_size``: the turned filter, or nothing."""
    return shape._column * shape.out_c if _reverses_filter(shape) else 0


def _reverses_filter(shape: ConvolutionShape) -> bool:
    return (
        shape.stride_w <= 2 and shape.stride_h <= 2 and shape.in_c > _REVERSE_TRANSPOSE_CONV_ABOVE
    )
