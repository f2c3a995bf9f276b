"""CMSIS-NN's softmax, loop by loop as the library runs it, with every turn counted."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from mcusim.graph import Array, DType
from mcusim.kernels.cmsis_nn.softmax_trips import SoftmaxRows
from mcusim.kernels.fixed_point import rounding_divide_by_pot, saturating_rounding_doubling_high_mul
from mcusim.kernels.gemmlowp_functions import one_over_one_plus_x

__all__ = ["softmax_s8"]

#: Integer bits of the sum of exponentials, and fraction bits of a quarter of the difference's one.
_SUM_BITS, _QUARTER_BITS = 12, 24
#: exp(-1/8) in Q0.31, a third in Q0.31.
_EXP_OF_MINUS_EIGHTH, _THIRD = 1895147668, 715827883
#: exp(-2**n) in Q0.31 for n of -2 to 4.
_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
_ONE = (1 << 31) - 1


def _int32(value: int) -> int:
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


def _product(a: int, b: int) -> int:
    """``arm_nn_doubling_high_mult``."""
    return int(saturating_rounding_doubling_high_mul(np.int32(a), np.int32(b)))


def _shifted(x: int, exponent: int) -> int:
    """``arm_nn_divide_by_power_of_two``."""
    return int(rounding_divide_by_pot(np.int32(x), np.int32(exponent)))


def _exponential(value: int, turns: Counter[str] | None) -> int:
    """``arm_nn_exp_on_negative_values``: exp of a Q5.26 value."""
    within = (value & ((1 << _QUARTER_BITS) - 1)) - (1 << _QUARTER_BITS)
    remainder = _int32(within - value)
    x = _int32((within << 5) + (1 << 28))
    if turns is not None:
        sign = "negative" if x < 0 else "positive"
        turns["largest" if value == 0 else f"lower.{sign}"] += 1
    square = _product(x, x)
    third = _product(_shifted(_product(square, square), 2) + _product(square, x), _THIRD)
    polynomial = x + _shifted(third + square, 1)
    result = _EXP_OF_MINUS_EIGHTH + _product(_EXP_OF_MINUS_EIGHTH, polynomial)
    for bit, power in enumerate(_POWERS):
        if remainder & (1 << (_QUARTER_BITS + bit)):
            result = _product(result, power)
    return _ONE if value == 0 else result


def softmax_s8(
    x: npt.NDArray[np.int8], softmax: SoftmaxRows, dtype: DType = DType.INT8, wraps: bool = False
) -> tuple[Array, Counter[str]]:
    """``arm_nn_softmax_common_s8``, and before 2022 ``arm_softmax_s8``.

    Args:
        x: shape ``(rows, depth)``.
        softmax: scaling of the differences.
        dtype: of the output, int8 or int16.
        wraps: differences are int8, as in 2020.

    Returns:
        The output, shape of ``x``, and the turns of each loop level.
    """
    turns: Counter[str] = Counter({"call": 1})
    limits = np.iinfo(dtype.numpy)
    out = np.empty(x.shape, dtype.numpy)
    for row, values in enumerate(x.tolist()):
        turns["row"] += 1
        turns["row.longer"] += len(values) > 1
        largest = max(values)
        differences = [value - largest for value in values]
        if wraps:
            differences = [(d + 128) % 256 - 128 for d in differences]
        total = 0
        for difference in differences:
            turns["element"] += 1
            if difference >= softmax.least_difference:
                total += _shifted(_exponential(_scaled(softmax, difference), turns), _SUM_BITS)
            else:
                turns["far"] += 1
        headroom = 32 - (total & 0xFFFFFFFF).bit_length()
        scale = int(one_over_one_plus_x(np.int32(_int32((total << headroom) - (1 << 31)))))
        over_unit = _SUM_BITS - headroom + 31 - limits.bits
        for column, difference in enumerate(differences):
            out[row, column] = limits.min
            if difference >= softmax.least_difference:
                product = _product(scale, _exponential(_scaled(softmax, difference), None))
                result = _shifted(product, over_unit) + int(limits.min)
                out[row, column] = min(max(result, int(limits.min)), int(limits.max))
    return out, turns


def _scaled(softmax: SoftmaxRows, difference: int) -> int:
    return _product(_int32(difference << softmax.shift), softmax.multiplier)
