"""Numbers as people read them."""

from __future__ import annotations

from decimal import Decimal

__all__ = ["milli"]

#: What is smaller, Python writes with an exponent.
_LEAST_SHORT = 1e-4


def milli(value: float, digits: int = 4) -> str:
    """Thousandths of a unit, such as the milliseconds of seconds, with the digits that matter.

    Whole numbers keep all their digits, and small ones are written out: 12,345 and 0.0000523, and
    not 1.234e+04 and 5.23e-05.
    """
    found = 1e3 * value
    if 1e-30 < abs(found) < _LEAST_SHORT:
        return f"{Decimal(f'{found:.{digits}g}'):f}"
    return f"{found:,.0f}" if 10**digits <= abs(found) < 1e15 else f"{found:,.{digits}g}"
