"""One vocabulary of instruction classes, and the mix of them that a kernel or a binary executes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["CLASSES", "FIELDS", "InstructionMix"]

#: Exclusive instruction classes; their sum is the number of instructions issued. An instruction
#: under a failed IT condition is issued and counted, as it costs its cycle.
CLASSES: tuple[str, ...] = (
    "alu",
    "if_then",
    "multiply",
    "multiply_long",
    "multiply_half",
    "simd_mac",
    "simd_other",
    "divide",
    "load_byte",
    "load_half",
    "load_word",
    "load_double",
    "load_multiple",
    "store_byte",
    "store_half",
    "store_word",
    "store_double",
    "store_multiple",
    "branch_conditional",
    "branch",
    "call",
    "branch_indirect",
    "branch_table",
    "float_alu",
    "float_mac",
    "float_divide",
    "float_convert",
    "float_move",
    "float_load",
    "float_store",
    "float_load_multiple",
    "float_store_multiple",
    "system",
    "nop",
)

#: What is counted beside the classes: subsets of the branches, and accesses to memory, where a
#: double is two and a multiple as many as its registers.
_BESIDE: tuple[str, ...] = (
    "taken_conditional",
    "taken_unconditional",
    "load_accesses",
    "store_accesses",
)

#: The order of :attr:`InstructionMix.vector`.
FIELDS: tuple[str, ...] = CLASSES + _BESIDE

_INDEX = {name: position for position, name in enumerate(FIELDS)}
_CLASS_COUNT = len(CLASSES)


@dataclass(frozen=True, eq=False)
class InstructionMix:
    """How many instructions of each class are executed; means are mixes too, so not only integers.

    Attributes:
        vector: float64, shape ``(len(FIELDS),)``, in the order of :data:`FIELDS`.
    """

    vector: npt.NDArray[np.float64]

    @classmethod
    def of(cls, counts: Mapping[str, float]) -> InstructionMix:
        """Build a mix from counts by name.

        Args:
            counts: names out of :data:`FIELDS`; what is absent is zero.

        Returns:
            The mix.

        Raises:
            KeyError: a name is not in :data:`FIELDS`.
        """
        vector = np.zeros(len(FIELDS))
        for name, count in counts.items():
            vector[_INDEX[name]] = count
        return cls(vector)

    @classmethod
    def zero(cls) -> InstructionMix:
        """The mix of nothing executed."""
        return cls(np.zeros(len(FIELDS)))

    def __add__(self, other: InstructionMix) -> InstructionMix:
        return InstructionMix(self.vector + other.vector)

    def scaled(self, factor: float) -> InstructionMix:
        """This mix, executed ``factor`` times."""
        return InstructionMix(self.vector * factor)

    def __getitem__(self, name: str) -> float:
        return float(self.vector[_INDEX[name]])

    @cached_property
    def total(self) -> float:
        """Instructions issued."""
        return float(self.vector[:_CLASS_COUNT].sum())

    @property
    def counts(self) -> dict[str, float]:
        """Instructions by class, without the classes that do not occur."""
        return {n: float(v) for n, v in zip(CLASSES, self.vector, strict=False) if v}

    @property
    def taken_branches(self) -> float:
        """Branches, calls and returns that were taken."""
        return self["taken_conditional"] + self["taken_unconditional"]

    @property
    def loaded_bytes(self) -> float:
        """Bytes read from memory: bytes and halfwords as such, every other access a word."""
        byte, half = self["load_byte"], self["load_half"]
        return byte + 2 * half + 4 * (self["load_accesses"] - byte - half)

    @property
    def stored_bytes(self) -> float:
        """Bytes written to memory: bytes and halfwords as such, every other access a word."""
        byte, half = self["store_byte"], self["store_half"]
        return byte + 2 * half + 4 * (self["store_accesses"] - byte - half)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: total, counts by class, taken branches and bytes moved."""
        return {
            "total": self.total,
            "counts": self.counts,
            "taken_branches": self.taken_branches,
            "loaded_bytes": self.loaded_bytes,
            "stored_bytes": self.stored_bytes,
        }

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={count:.6g}" for name, count in self.counts.items())
        return f"InstructionMix(total={self.total:.6g}, {inside})"
