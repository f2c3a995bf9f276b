"""What a division costs where it is a function of the compiler's library."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["quotient_kinds"]


def quotient_kinds(dividends: Sequence[int], divisor: int) -> dict[str, int]:
    """Turns of libgcc's ``__divsi3`` for ARMv6-M in some divisions, by level.

    It finds no bit of a quotient below 2 in its steps, three of one below 16, seven of one below
    256; a bit that is set costs two instructions more, and so does a negative dividend.

    Args:
        dividends: what is divided.
        divisor: above 0.
    """
    quotients = [abs(dividend) // divisor for dividend in dividends]
    return {
        "quotient.call": len(quotients),
        "quotient.negative": sum(dividend < 0 for dividend in dividends),
        "quotient.from_2": sum(quotient >= 2 for quotient in quotients),
        "quotient.from_16": sum(quotient >= 16 for quotient in quotients),
        "quotient.from_256": sum(quotient >= 256 for quotient in quotients),
        "quotient.bit": sum((quotient >> 1).bit_count() for quotient in quotients),
    }
