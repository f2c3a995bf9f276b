"""SOFTMAX and LOG_SOFTMAX over the last dimension."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from mcusim.errors import ModelError
from mcusim.graph import Array, DType, Node, Tensor
from mcusim.kernels.contract import Binder, BoundKernel, Kernel
from mcusim.kernels.fixed_point import (
    Int32Array,
    multiply_by_quantized_multiplier,
    multiply_by_quantized_multiplier_once,
    quantize_multiplier,
    quantize_multiplier_smaller_than_one,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
)
from mcusim.kernels.gemmlowp_functions import (
    count_leading_zeros,
    exp_on_negative_values,
    log_of_at_least_one,
    reciprocal,
)
from mcusim.kernels.lookup_tables import int16_table, interpolated
from mcusim.kernels.reference.checks import (
    require,
    require_counts,
    require_same_type,
    supported,
)
from mcusim.kernels.reference.softmax_call import log_softmax_call, softmax_call
from mcusim.kernels.reference.softmax_scaling import DIFFERENCE_BITS, SUM_BITS, InputScaling

__all__ = ["KERNELS", "SoftmaxTurns", "prepare_softmax", "softmax_mirror"]


def _require_near(node: Node, tensor: Tensor, wanted: float) -> None:
    actual, target = np.float32(tensor.scale), np.float32(wanted)
    require(
        bool(abs(actual - target) <= np.float32(0.001) * target),
        node,
        f"the output's scale is {tensor.scale:g}, not {wanted:g}",
    )


def _require_zero_point(node: Node, tensor: Tensor, what: str, wanted: int) -> None:
    require(
        tensor.zero_point == wanted,
        node,
        f"the {what}'s zero point is {tensor.zero_point}, not {wanted}",
    )


def _checked(node: Node) -> tuple[Tensor, Tensor]:
    require_counts(node, 1)
    source, output = node.input(0), node.output()
    require(len(source.shape) >= 1, node, "the input is a scalar")
    require(source.shape == output.shape, node, "the shapes of input and output differ")
    return source, output


def prepare_softmax(node: Node, rounds_once: bool = False, saturates: bool = True) -> Binder:
    """Check a SOFTMAX and prepare it.

    Args:
        node: the operator.
        rounds_once: int16 differences are scaled with one rounding, as CMSIS-NN does if built for
            it.
        saturates: what leaves the range of int16 is clamped to it; CMSIS-NN lets it wrap.

    Raises:
        UnsupportedOperatorError: the library refuses the node.

    Source: ``SoftmaxPrepare`` and ``SoftmaxEval``.
    """
    source, output = _checked(node)
    dtype = supported(node, source, (DType.INT8, DType.INT16, DType.FLOAT32), "input")
    beta = node.options.real("beta")
    if dtype is DType.FLOAT32:
        require_same_type(node, source, output, "input and output")
        return partial(_softmax_float, beta)
    if dtype is DType.INT16:
        supported(node, output, (DType.INT16,), "output")
        _require_zero_point(node, source, "input", 0)
        _require_zero_point(node, output, "output", 0)
        _require_near(node, output, 1 / 32768)
        scaling = quantize_multiplier(source.scale * beta / (10.0 / 65535.0))
        multiply = (
            multiply_by_quantized_multiplier_once
            if rounds_once
            else multiply_by_quantized_multiplier
        )
        return partial(_softmax_int16, lambda x: multiply(x, *scaling), saturates)
    if supported(node, output, (DType.INT8, DType.INT16), "output") is DType.INT16:
        _require_zero_point(node, output, "output", -32768)
        _require_near(node, output, 1 / 65536)
    else:
        _require_zero_point(node, output, "output", -128)
        require(output.scale == 1 / 256, node, f"the output's scale is {output.scale:g}, not 1/256")
    return partial(_softmax_int8, InputScaling.of(source.scale, beta), output.dtype)


def _differences(x: Array) -> npt.NDArray[np.int64]:
    """How far each input lies below the largest of its row."""
    wide = x.astype(np.int64)
    below: npt.NDArray[np.int64] = wide.max(axis=-1, keepdims=True) - wide
    return below


def _padded(table: Int32Array) -> npt.NDArray[np.int64]:
    """A table by difference, with zeros for the differences that do not count."""
    return np.concatenate([table, np.zeros(256 - table.size, np.int32)]).astype(np.int64)


def _softmax_int8(scaling: InputScaling, dtype: DType) -> BoundKernel:
    """Source: ``reference_ops::Softmax<int8_t, OutputT>``."""
    from mcusim.kernels.compiled.softmax import stored_softmax

    exponentials = exp_on_negative_values(scaling.differences(), DIFFERENCE_BITS)
    powers = exponentials.astype(np.int64)
    addends = rounding_divide_by_pot(exponentials, SUM_BITS).astype(np.int64)

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        x = np.ascontiguousarray(_first(inputs))
        out = np.empty(x.shape, dtype.numpy)
        depth = x.shape[-1]
        fits = stored_softmax(
            x.reshape(-1, depth), powers, addends, dtype.bits, out.reshape(-1, depth)
        )
        if not fits:
            raise ModelError(
                "so many inputs of a row are as large as the largest that the output's type has "
                "no bits left for their share: TFLite Micro's kernel stops there, CMSIS-NN's "
                "shifts by more bits than C defines"
            )
        return [out]

    return run


def _softmax_int16(
    scale: Callable[[npt.NDArray[np.int64]], Int32Array], saturates: bool
) -> BoundKernel:
    """Source: ``reference_ops::SoftmaxInt16``, and ``arm_softmax_s16`` without saturation."""
    exponentials = _exponential_table()
    reciprocals = int16_table(
        lambda x: np.float32(1) / (np.float32(1) + x), _UNIT, -32768, 2 * _UNIT, 0
    )

    def narrowed(wide: npt.NDArray[np.int64], low: int) -> npt.NDArray[np.int16]:
        found: npt.NDArray[np.int16] = (np.clip(wide, low, 32767) if saturates else wide).astype(
            np.int16
        )
        return found

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        scaled = scale(-_differences(_first(inputs)))
        centred = np.clip(scaled.astype(np.int64) + 32767, -32768, 32767).astype(np.int16)
        powers = interpolated(centred, exponentials).astype(np.int64)
        sums = powers.sum(axis=-1, keepdims=True)
        headroom = count_leading_zeros(sums)
        rounded = (sums << (headroom - 1)) + (1 << 13)
        if not saturates:
            rounded = rounded.astype(np.int32).astype(np.int64)
        position = narrowed((rounded >> 14) - ((1 << 15) + (1 << 16)), -32768)
        factor = interpolated(position, reciprocals).astype(np.int64)
        right = 31 - headroom
        result = (powers * factor + (np.int64(1) << (right - 1))) >> right
        return [narrowed(result, 0)]

    return run


#: Scale of int16 values that span a range of 1.
_UNIT = float(np.float32(1) / np.float32(65535))


def _exponential_table() -> npt.NDArray[np.int16]:
    """exp from -10 to 0, as the library's float32 ``exp`` gives it."""
    ten = float(np.float32(10) / np.float32(65535))

    def exponential(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.exp(x.astype(np.float64)).astype(np.float32)

    return int16_table(exponential, ten, 32767, 2 * _UNIT, 0)


def _softmax_float(beta: float) -> BoundKernel:
    """Source: ``reference_ops::Softmax<float>``."""
    from mcusim.kernels.compiled.softmax import softmax

    factor = np.float32(beta)

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        x = np.ascontiguousarray(_first(inputs))
        out = np.empty_like(x)
        softmax(x.reshape(-1, x.shape[-1]), factor, out.reshape(-1, x.shape[-1]))
        return [out]

    return run


def _prepare_log_softmax(node: Node) -> Binder:
    source, output = _checked(node)
    require_same_type(node, source, output, "input and output")
    if supported(node, source, (DType.INT8, DType.FLOAT32), "input") is DType.FLOAT32:
        return _log_softmax_float
    require(output.scale == 16 / 256, node, f"the output's scale is {output.scale:g}, not 16/256")
    _require_zero_point(node, output, "output", 127)
    scaling = InputScaling.of(source.scale, 1.0)
    divisor = quantize_multiplier_smaller_than_one(
        (1 << (31 - scaling.left_shift)) / scaling.multiplier
    )
    return partial(_log_softmax_int8, scaling, divisor)


def _log_softmax_int8(scaling: InputScaling, divisor: tuple[int, int]) -> BoundKernel:
    """Source: ``LogSoftmaxQuantized<int8_t>`` and ``PreprocessLogSoftmaxScalingExp``."""
    every = np.arange(256)
    rescaled = multiply_by_quantized_multiplier(-every, scaling.multiplier, scaling.left_shift)
    exponentials = exp_on_negative_values(scaling.differences(), DIFFERENCE_BITS)
    addends = _padded(rounding_divide_by_pot(exponentials, SUM_BITS))

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        below = _differences(_first(inputs))
        sums = addends[below].sum(axis=-1, keepdims=True).astype(np.int32)
        log_of_sum = log_of_at_least_one(sums, SUM_BITS, DIFFERENCE_BITS)
        shifted = (log_of_sum.astype(np.int64) - (1 << 31)).astype(np.int32)
        least = np.maximum(
            scaling.least_difference - 1, multiply_by_quantized_multiplier(shifted, *divisor)
        )
        difference = (rescaled[below].astype(np.int64) - log_of_sum).astype(np.int32)
        result = rounding_divide_by_pot(difference, 31 - DIFFERENCE_BITS - 4).astype(np.int64)
        stored = np.clip(result + 127, -128, 127)
        return [np.where(-below > least, stored, -128).astype(np.int8)]

    return run


def _log_softmax_float() -> BoundKernel:
    """Source: ``reference_ops::LogSoftmax``."""
    from mcusim.kernels.compiled.softmax import log_softmax

    def run(inputs: Sequence[Array | None]) -> Sequence[Array]:
        x = np.ascontiguousarray(_first(inputs))
        out = np.empty_like(x)
        log_softmax(x.reshape(-1, x.shape[-1]), out.reshape(-1, x.shape[-1]))
        return [out]

    return run


def _first(inputs: Sequence[Array | None]) -> Array:
    x = inputs[0]
    assert x is not None
    return x


@dataclass(frozen=True)
class SoftmaxTurns:
    """Turns of the loops of an int8 SOFTMAX: rows, and elements that an exponential is taken of."""

    rows: int
    exponentials: int


def softmax_mirror(
    x: npt.NDArray[np.int8], scaling: InputScaling, dtype: DType
) -> tuple[Array, SoftmaxTurns]:
    """SOFTMAX of int8 rows, loop by loop as the library computes it.

    Args:
        x: int8, shape ``(rows, depth)``.
        scaling: of the differences.
        dtype: of the output, int8 or int16.

    Returns:
        The output, shape of ``x``, and the turns of its loops.

    Source: ``reference_ops::Softmax<int8_t, OutputT>``.
    """
    limits = np.iinfo(dtype.numpy)
    out = np.empty(x.shape, dtype.numpy)
    exponentials = 0
    for row, values in enumerate(x.tolist()):
        largest = -128
        for value in values:
            largest = max(largest, value)
        total = 0
        for value in values:
            if value - largest >= scaling.least_difference:
                exponential = _exponential(value - largest, scaling)
                total += int(rounding_divide_by_pot(exponential, SUM_BITS))
                exponentials += 1
        scale, bits_over_unit = reciprocal(total, SUM_BITS)
        for column, value in enumerate(values):
            out[row, column] = limits.min
            if value - largest >= scaling.least_difference:
                product = saturating_rounding_doubling_high_mul(
                    scale, _exponential(value - largest, scaling)
                )
                result = int(rounding_divide_by_pot(product, bits_over_unit + 31 - limits.bits))
                out[row, column] = min(result + int(limits.min), int(limits.max))
    return out, SoftmaxTurns(len(x), exponentials)


def _exponential(difference: int, scaling: InputScaling) -> int:
    rescaled = multiply_by_quantized_multiplier(difference, scaling.multiplier, scaling.left_shift)
    return int(exp_on_negative_values(rescaled, DIFFERENCE_BITS))


KERNELS: tuple[Kernel, ...] = (
    Kernel("SOFTMAX", prepare_softmax, softmax_call),
    Kernel("LOG_SOFTMAX", _prepare_log_softmax, log_softmax_call),
)
