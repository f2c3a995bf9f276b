"""Numbers as people read them."""

from __future__ import annotations

__all__ = ["milli"]


def milli(value: float, digits: int = 4) -> str:
    """Thousandths of a unit, such as the milliseconds of seconds, with the digits that matter.

    Whole numbers keep all their digits: 12,345 and not 1.234e+04.
    """
    found = 1e3 * value
    return f"{found:,.0f}" if 10**digits <= abs(found) < 1e15 else f"{found:,.{digits}g}"
