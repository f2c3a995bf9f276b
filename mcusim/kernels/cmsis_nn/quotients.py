"""What a division costs where it is a function of the compiler's library."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["quotient_kinds", "quotient_levels", "quotient_sizes"]


def quotient_kinds(dividends: Sequence[int], divisor: int) -> dict[str, int]:
    """Turns of libgcc's ``__divsi3`` for ARMv6-M in some divisions, by level.

    Args:
        dividends: what is divided.
        divisor: above 0.
    """
    given = np.asarray(dividends, np.int64)
    sizes = quotient_sizes(np.abs(given) // divisor).sum(axis=1)
    turns = quotient_levels(len(given), float((given < 0).sum()), sizes)
    return {level: int(count) for level, count in turns.items()}


def quotient_levels(
    divisions: float, negative: float, sizes: npt.NDArray[np.float64]
) -> dict[str, float]:
    """Levels of libgcc's ``__divsi3`` for ARMv6-M, by name.

    Args:
        divisions: how many.
        negative: dividends below zero, which cost two instructions more.
        sizes: of the quotients, from :func:`quotient_sizes`, summed; shape ``(4,)``.
    """
    two, sixteen, beyond, bits = sizes.tolist()
    return {
        "quotient.call": divisions,
        "quotient.negative": negative,
        "quotient.from_2": two,
        "quotient.from_16": sixteen,
        "quotient.from_256": beyond,
        "quotient.bit": bits,
    }


def quotient_sizes(quotients: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """For each quotient whether it is 2 or more, 16, 256, and its bits beside the lowest.

    libgcc's ``__divsi3`` for ARMv6-M finds no bit of a quotient below 2 in its steps, three of one
    below 16, seven of one below 256; a bit that is set costs two instructions more.

    Args:
        quotients: int64, not negative, below 2**31.

    Returns:
        float64, shape ``(4, *quotients.shape)``.
    """
    bits = sum((quotients >> bit) & 1 for bit in range(1, 31))
    return np.array([quotients >= 2, quotients >= 16, quotients >= 256, bits], np.float64)
