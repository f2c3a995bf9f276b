"""What dnnruntime's kernels compute, as its device code in ``kernels/dnnruntime/`` does.

The paper gives the affine mapping (equations 2 to 5) and says that operators follow the ONNX
specification, whose QuantizeLinear rounds half to even; the brackets in its equations leave the
rounding open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array, DType, Tensor

__all__ = ["Requantization", "average_pool", "matrix_product", "real", "softmax", "weight_scales"]

_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Requantization:
    """Makes a real number, in units of the output's scale, a stored value of the output.

    Clamped, rounded half to even, and the zero point added.

    Attributes:
        output: the tensor it is for.
        activation: fused: ``NONE``, ``RELU`` or ``RELU6``.
    """

    output: Tensor
    activation: str = "NONE"

    def __call__(self, value: Array) -> Array:
        """Stored values of float32 ``value``, of the output's dtype."""
        zero = self.output.zero_point
        limits = np.iinfo(self.output.dtype.numpy)
        least, most = float(limits.min - zero), float(limits.max - zero)
        if self.activation in ("RELU", "RELU6"):
            least = max(least, 0.0)
        if self.activation == "RELU6":
            most = min(most, float(np.rint(np.float32(6.0) / np.float32(self.output.scale))))
        clamped = np.clip(value, np.float32(least), np.float32(most))
        stored: Array = (np.rint(clamped).astype(np.int32) + zero).astype(self.output.dtype.numpy)
        return stored


def real(x: Array, tensor: Tensor) -> Array:
    """Stored values less the zero point, as float64, which holds sums of their products exactly."""
    if tensor.dtype is DType.FLOAT32:
        return x
    return x.astype(np.float64) - tensor.zero_point


def weight_scales(x: Tensor, weights: Tensor, output: Tensor) -> _Floats:
    """``s_x * s_w / s_y`` of each row of the weights, rounded after each step.

    Source: equation 5; in this order, onnxruntime's QLinearConv.
    """
    scales = np.ones(1, np.float32) if weights.quantization is None else weights.quantization.scales
    rows = np.broadcast_to(scales.astype(np.float32), (weights.shape[0],))
    found: _Floats = np.float32(x.scale) * rows / np.float32(output.scale)
    return found


def matrix_product(columns: Array, weights: Array, bias: Array) -> Array:
    """Products of a weight matrix with columns.

    Args:
        columns: shape ``(n, columns)``, float32, or float64 that holds integers.
        weights: shape ``(rows, columns)``, likewise.
        bias: shape ``(rows,)``.

    Returns:
        Shape ``(n, rows)``. float32 is summed in the order of the device, from the bias on, each
        product rounded: a core whose FPU fuses the two differs in the last bits.
    """
    if columns.dtype != np.float32:
        exact: Array = columns @ weights.T + bias
        return exact
    sums: Array = np.tile(bias, (len(columns), 1))
    for column, weight in zip(columns.T, weights.T, strict=True):
        sums += column[:, np.newaxis] * weight
    return sums


def average_pool(windows: Array, counts: Array, scale: np.float32 | None) -> Array:
    """Means of windows, in units of the output's scale.

    Args:
        windows: shape ``(..., taps)``, zero outside the image.
        counts: taps inside the image, of the shape of the result without its last axis.
        scale: ``s_x / s_y``; None for float32.
    """
    if scale is not None:
        sums = windows.sum(axis=-1).astype(np.float32)
        scaled: Array = sums * (scale / counts[..., np.newaxis].astype(np.float32))
        return scaled
    total = np.zeros(windows.shape[:-1], np.float32)
    for tap in range(windows.shape[-1]):
        total += windows[..., tap]
    means: Array = total / counts[..., np.newaxis].astype(np.float32)
    return means


def softmax(x: Array) -> Array:
    """Softmax over the last axis in float32, summed in order."""
    powers = np.exp(x - x.max(axis=-1, keepdims=True)).astype(np.float32)
    total = np.zeros(x.shape[:-1], np.float32)
    for index in range(x.shape[-1]):
        total += powers[..., index]
    shares: Array = powers / total[..., np.newaxis]
    return shares
