"""What the recording of any instrument becomes: current over time, with pins beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "Recording", "Samples"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Samples:
    """Consecutive samples of a recording, in order of time.

    Attributes:
        time_s: when, ``float64`` (n,); never falling.
        current_a: supply current, ``float64`` (n,); NaN where the instrument lost a sample.
        voltage_v: supply voltage, ``float64`` (n,); None where it was not recorded.
        pins: level of each digital input, ``bool`` (n,), by name.
    """

    time_s: Floats
    current_a: Floats
    voltage_v: Floats | None
    pins: Mapping[str, npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class Recording:
    """A recording that can be gone through several times, a piece of it in memory at once.

    Attributes:
        name: of the file, for messages.
        samples: goes through it from the start; may raise InputError.
    """

    name: str
    samples: Callable[[], Iterator[Samples]]
