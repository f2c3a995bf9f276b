"""How int8 SOFTMAX and LOG_SOFTMAX scale the differences of a row's inputs to its largest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mcusim.kernels.fixed_point import (
    Int32Array,
    multiply_by_quantized_multiplier,
    quantize_multiplier_greater_than_one,
)

__all__ = ["DIFFERENCE_BITS", "SUM_BITS", "InputScaling"]

#: Differences to the largest input are held in Q5.26, sums of exponentials in Q12.19.
DIFFERENCE_BITS, SUM_BITS = 5, 12


@dataclass(frozen=True)
class InputScaling:
    """How differences of stored inputs become Q5.26.

    Attributes:
        multiplier: Q31.
        left_shift: of the difference, before the multiplication.
        least_difference: what is further below the largest input counts as zero.
    """

    multiplier: int
    left_shift: int
    least_difference: int

    @classmethod
    def of(cls, scale: float, beta: float) -> InputScaling:
        """Scaling for inputs of ``scale``, multiplied by ``beta``.

        Raises:
            UnsupportedOperatorError: ``scale * beta`` is not above 2**-26.

        Source: ``PreprocessSoftmaxScaling`` and ``CalculateInputRadius``.
        """
        real = min(beta * scale * (1 << (31 - DIFFERENCE_BITS)), float((1 << 31) - 1))
        multiplier, shift = quantize_multiplier_greater_than_one(real)
        radius = ((1 << DIFFERENCE_BITS) - 1) * (1 << (31 - DIFFERENCE_BITS)) / (1 << shift)
        return cls(multiplier, shift, -math.floor(radius))

    def differences(self) -> Int32Array:
        """Q5.26 of the differences 0, -1, … that count, at most 256 of them."""
        count = min(-self.least_difference, 255) + 1
        return multiply_by_quantized_multiplier(-np.arange(count), self.multiplier, self.left_shift)
