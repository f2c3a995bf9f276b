"""Floating point as the RP2040's boot ROM offers it, on words of registers."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence

__all__ = ["FLOAT_ROUTINES", "Routine"]

#: Takes registers r0 to r3 and whether values are doubles; gives registers from r0 on, and the
#: flags N, Z, C, V as four bits where the routine sets them.
Routine = Callable[[Sequence[int], bool], tuple[tuple[int, ...], int | None]]

_LARGEST_SHIFT = 4096


def _values(words: Sequence[int], double: bool) -> tuple[float, float]:
    if double:
        return struct.unpack("<2d", struct.pack("<4I", *words))
    return struct.unpack("<2f", struct.pack("<2I", *words[:2]))


def _result(value: float, double: bool) -> tuple[tuple[int, ...], None]:
    if double:
        return struct.unpack("<2I", struct.pack("<d", value)), None
    try:
        packed = struct.pack("<f", value)
    except OverflowError:
        packed = struct.pack("<f", math.copysign(math.inf, value))
    return struct.unpack("<I", packed), None


def _binary(function: Callable[[float, float], float]) -> Routine:
    def routine(words: Sequence[int], double: bool) -> tuple[tuple[int, ...], int | None]:
        return _result(_guarded(function, *_values(words, double)), double)

    return routine


def _unary(function: Callable[[float], float]) -> Routine:
    def routine(words: Sequence[int], double: bool) -> tuple[tuple[int, ...], int | None]:
        return _result(_guarded(function, _values(words, double)[0]), double)

    return routine


def _guarded(function: Callable[..., float], *values: float) -> float:
    try:
        return function(*values)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan


def _divide(a: float, b: float) -> float:
    if b:
        return a / b
    return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1, b)


def _logarithm(a: float) -> float:
    return -math.inf if a == 0 else math.log(a)


def _compare(words: Sequence[int], double: bool) -> tuple[tuple[int, ...], int | None]:
    """-1, 0 or 1, with flags as a comparison of integers leaves them."""
    a, b = _values(words, double)
    order = (a > b) - (a < b)
    flags = {-1: 0b1000, 0: 0b0110, 1: 0b0010}[order]
    return (order & 0xFFFF_FFFF,), flags


def _compare_flags(words: Sequence[int], double: bool) -> tuple[tuple[int, ...], int | None]:
    return (), _compare(words, double)[1]


def _to_integer(bits: int, signed: bool, fixed: bool) -> Routine:
    """A float as an integer towards minus infinity, saturated, times 2 to the power of a shift."""

    def routine(words: Sequence[int], double: bool) -> tuple[tuple[int, ...], int | None]:
        value = _values(words, double)[0]
        shift = _signed(words[2 if double else 1], 32) if fixed else 0
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        if math.isnan(value):
            whole = 0
        else:
            scaled = _guarded(
                lambda: math.ldexp(value, max(min(shift, _LARGEST_SHIFT), -_LARGEST_SHIFT))
            )
            scaled = math.copysign(math.inf, value) if math.isinf(scaled) else scaled
            whole = low if scaled < low else high if scaled > high else math.floor(scaled)
        return tuple(whole >> 32 * i & 0xFFFF_FFFF for i in range(bits // 32)), None

    return routine


def _from_integer(bits: int, signed: bool, fixed: bool) -> Routine:
    def routine(words: Sequence[int], double: bool) -> tuple[tuple[int, ...], int | None]:
        count = bits // 32
        whole = sum(words[i] << 32 * i for i in range(count))
        whole = _signed(whole, bits) if signed else whole
        shift = _signed(words[count], 32) if fixed else 0
        shift = max(min(shift, _LARGEST_SHIFT), -_LARGEST_SHIFT)
        return _result(_guarded(lambda: math.ldexp(float(whole), -shift)), double)

    return routine


def _signed(value: int, bits: int) -> int:
    return value - (value >> bits - 1 << bits)


def _sin_cos(words: Sequence[int], double: bool) -> tuple[tuple[int, ...], int | None]:
    value = _values(words, double)[0]
    sine, _ = _result(_guarded(math.sin, value), double)
    cosine, _ = _result(_guarded(math.cos, value), double)
    return (*cosine, *sine), None


def _convert(words: Sequence[int], double: bool) -> tuple[tuple[int, ...], int | None]:
    """To the other width: what stands last in the table."""
    return _result(_values(words, double)[0], not double)


#: In the order of the ROM's tables (RP2040 datasheet, section 2.8.3.2).
FLOAT_ROUTINES: tuple[Routine, ...] = (
    _binary(lambda a, b: a + b),
    _binary(lambda a, b: a - b),
    _binary(lambda a, b: a * b),
    _binary(_divide),
    _compare,
    _compare_flags,
    _unary(math.sqrt),
    _to_integer(32, signed=True, fixed=False),
    _to_integer(32, signed=True, fixed=True),
    _to_integer(32, signed=False, fixed=False),
    _to_integer(32, signed=False, fixed=True),
    _from_integer(32, signed=True, fixed=False),
    _from_integer(32, signed=True, fixed=True),
    _from_integer(32, signed=False, fixed=False),
    _from_integer(32, signed=False, fixed=True),
    _unary(math.cos),
    _unary(math.sin),
    _unary(math.tan),
    _sin_cos,
    _unary(math.exp),
    _unary(_logarithm),
    _compare,
    _binary(math.atan2),
    _from_integer(64, signed=True, fixed=False),
    _from_integer(64, signed=True, fixed=True),
    _from_integer(64, signed=False, fixed=False),
    _from_integer(64, signed=False, fixed=True),
    _to_integer(64, signed=True, fixed=False),
    _to_integer(64, signed=True, fixed=True),
    _to_integer(64, signed=False, fixed=False),
    _to_integer(64, signed=False, fixed=True),
    _convert,
)
