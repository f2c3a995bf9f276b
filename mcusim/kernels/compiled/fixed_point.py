"""The arithmetic of :mod:`mcusim.kernels.fixed_point` on scalars, for compiled loops.

Every argument and result is int64 that holds an int32 (an int64 accumulator in the wide one);
wrapping is explicit, so that loops over them vectorize.
"""

from __future__ import annotations

from mcusim.kernels.compiled.compiler import njit

__all__ = [
    "multiply_by_quantized_multiplier",
    "multiply_by_quantized_multiplier_wide",
    "rounding_divide_by_pot",
    "saturating_rounding_doubling_high_mul",
    "wrapped_int32",
]


@njit(cache=True)
def wrapped_int32(x: int) -> int:
    """The value of the low 32 bits."""
    return ((x + 0x80000000) & 0xFFFFFFFF) - 0x80000000


@njit(cache=True)
def saturating_rounding_doubling_high_mul(a: int, b: int) -> int:
    """High 32 bits of ``2 * a * b``, rounded to the nearest, ties up."""
    return min((a * b + (1 << 30)) >> 31, 0x7FFFFFFF)


@njit(cache=True)
def rounding_divide_by_pot(x: int, exponent: int) -> int:
    """``x / 2**exponent`` rounded to the nearest, ties away from zero."""
    # With a tie of a negative number pulled down by one, ties away from zero are ties up.
    return (x + ((1 << exponent) >> 1) + ((x >> 63) if exponent else 0)) >> exponent


@njit(cache=True)
def multiply_by_quantized_multiplier(x: int, multiplier: int, shift: int) -> int:
    """Scale an int32 accumulator by ``multiplier * 2**(shift - 31)``, rounding twice."""
    shifted = wrapped_int32(x << (max(shift, 0) & 31))
    return rounding_divide_by_pot(
        saturating_rounding_doubling_high_mul(shifted, multiplier), max(-shift, 0)
    )


@njit(cache=True)
def multiply_by_quantized_multiplier_wide(x: int, multiplier: int, shift: int) -> int:
    """Scale an int64 accumulator by a multiplier rounded to 15 bits, rounding once, ties up."""
    reduced = (multiplier + (1 << 15)) >> 16 if multiplier < 0x7FFF0000 else 0x7FFF
    total_shift = 15 - shift
    return wrapped_int32((x * reduced + (1 << ((total_shift - 1) & 63))) >> (total_shift & 63))
