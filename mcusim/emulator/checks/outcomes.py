"""What came of calling a library's functions."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

__all__ = ["Bits", "CaseCheck", "FunctionCheck", "Verdict"]


#: Instructions of a call that profiles may count as the glue's, or the other way round.
_OF_A_CALL = 300


class Verdict(Enum):
    """What can be said of a function."""

    EQUAL = "equal"
    WRONG = "wrong"
    REFUSES = "refuses all"
    UNLIKE = "not as declared"
    FAILED = "fails"


@dataclass(frozen=True)
class Bits:
    """Values of a call beside those expected.

    Attributes:
        differing: values whose bits differ.
        first: the first of them in words; empty where there is none.
    """

    differing: int
    first: str = ""


@dataclass(frozen=True)
class CaseCheck:
    """One call of a function.

    Attributes:
        label: the layer, for people.
        values: of its output and its states.
        bits: beside what mcusim computes.
        once: beside what it computes with ``CMSIS_NN_USE_SINGLE_ROUNDING``; None where that is the
            same.
        damage: what it did to memory that is not its own, in words; empty for nothing.
        refusal: the status that it returned without computing; 0 for success.
        executed: instructions.
        predicted: the same by the profiles, by build.
        traits: what may make a function go wrong on the layer, in words.
        is_unwritten: whether the output is as it was before.
    """

    label: str
    values: int
    bits: Bits
    once: Bits | None = None
    damage: str = ""
    refusal: int = 0
    executed: float = 0.0
    predicted: Mapping[str, float] = field(default_factory=dict)
    traits: frozenset[str] = frozenset()
    is_unwritten: bool = False

    @property
    def is_right(self) -> bool:
        """Whether it computed the bits, and did nothing else."""
        return not (self.bits.differing or self.damage or self.refusal)

    def rounded_once(self) -> CaseCheck:
        """The same beside a build that rounds once."""
        return self if self.once is None else replace(self, bits=self.once)


@dataclass(frozen=True)
class FunctionCheck:
    """The calls of one function.

    Attributes:
        function: its name.
        releases: as which releases of the library declare it, it was called; empty for none.
        cases: its calls.
        failure: why it could not be called to the end; empty where it could.
        is_declared: whether debug information says that these are its parameters.
        is_entry: whether a runtime calls it for every layer of its kind.
    """

    function: str
    releases: str
    cases: tuple[CaseCheck, ...]
    failure: str = ""
    is_declared: bool = False
    is_entry: bool = True

    @property
    def computed(self) -> tuple[CaseCheck, ...]:
        """Cases that it did not refuse."""
        return tuple(case for case in self.cases if not case.refusal)

    @property
    def wrong(self) -> tuple[CaseCheck, ...]:
        """Cases that went wrong; a function that the library chooses itself may refuse some."""
        cases = self.cases if self.is_entry else self.computed
        return tuple(case for case in cases if not case.is_right)

    @property
    def verdict(self) -> Verdict:
        """What can be said of it.

        A function that gives no case right and does not come back, writes where it must not or
        leaves its output as it was may as well take other arguments: only debug information tells.
        """
        if not self.failure and not self.wrong:
            return Verdict.EQUAL if self.computed else Verdict.REFUSES
        if self.is_declared or any(case.is_right and case.values > 3 for case in self.cases):
            return Verdict.FAILED if self.failure else Verdict.WRONG
        strays = self.failure or any(case.damage for case in self.cases)
        is_idle = all(case.refusal or case.is_unwritten for case in self.cases)
        return Verdict.UNLIKE if strays or is_idle else Verdict.WRONG

    def is_off(self, build: str, tolerance: float) -> bool:
        """Whether the counts of most cases are further off than a share of them.

        What a call takes besides its loops the profiles share out between the function and the
        glue in TFLM, which are only counted together: so much may be off in each case.
        """
        beyond = [
            max(0.0, abs(case.predicted[build] - case.executed) - _OF_A_CALL) / case.executed
            for case in self.computed
            if build in case.predicted and case.executed
        ]
        return bool(self.errors(build)) and statistics.median(beyond) > tolerance

    def errors(self, build: str) -> tuple[float, ...]:
        """Predicted over executed instructions, minus one, of the cases that a build prices.

        None for what does not compute the layers at all.
        """
        if self.verdict in (Verdict.UNLIKE, Verdict.FAILED):
            return ()
        return tuple(
            case.predicted[build] / case.executed - 1
            for case in self.computed
            if build in case.predicted and case.executed
        )

    def median_error(self, build: str) -> float | None:
        """Median size of :meth:`errors`; None without any."""
        errors = self.errors(build)
        return statistics.median(map(abs, errors)) if errors else None
