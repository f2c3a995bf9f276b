"""All of a library's functions that an image holds: how it was built, and what is wrong with it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mcusim.emulator.checks.outcomes import FunctionCheck

__all__ = ["LibraryCheck"]

#: What a median error of nothing counts as, so that it has a logarithm.
_LEAST_ERROR = 1e-4


@dataclass(frozen=True)
class LibraryCheck:
    """What came of checking an image.

    Attributes:
        functions: that were called.
        build: whose profiles the counts are compared with; None where none has any.
        is_guessed: whether that is the build that comes closest, not one that was named.
        rounds_once: whether it is a build with ``CMSIS_NN_USE_SINGLE_ROUNDING``.
    """

    functions: tuple[FunctionCheck, ...]
    build: str | None
    is_guessed: bool
    rounds_once: bool

    @classmethod
    def of(cls, checks: Sequence[FunctionCheck], build: str | None = None) -> LibraryCheck:
        """Judge what came of calls.

        Args:
            checks: of all functions.
            build: the compiler and flag they were built with, where that is known; else it is the
                one whose counts are closest, and bits tell how often it rounds.
        """
        once = _rounds_once(checks) if build is None else build.endswith("-sr")
        if once:
            checks = [
                replace(check, cases=tuple(case.rounded_once() for case in check.cases))
                for check in checks
            ]
        return cls(tuple(checks), build or _closest_build(checks, once), build is None, once)

    @property
    def median_error(self) -> float | None:
        """Median over functions of the median error of their counts."""
        build = self.build
        if build is None:
            return None
        found = [e for f in self.functions if (e := f.median_error(build)) is not None]
        return statistics.median(found) if found else None

    def off(self, tolerance: float) -> tuple[tuple[FunctionCheck, float], ...]:
        """Functions whose counts are off by more than a share, with their median error."""
        build = self.build
        if build is None:
            return ()
        found = ((f, f.median_error(build)) for f in self.functions if f.is_off(build, tolerance))
        return tuple((f, error) for f, error in found if error is not None)


def _rounds_once(checks: Sequence[FunctionCheck]) -> bool:
    """Whether all that depends on it rounds once: one function that does so alone is wrong."""
    telling = [case for check in checks for case in check.computed if case.once is not None]
    once = [case for case in telling if case.once is not None and not case.once.differing]
    return bool(once) and not any(case.is_right for case in telling)


def _closest_build(checks: Sequence[FunctionCheck], once: bool) -> str | None:
    """The build with the least median errors, among those that price the most functions."""
    builds = {build for check in checks for case in check.cases for build in case.predicted}
    builds = {build for build in builds if build.endswith("-sr") == once} or builds
    if not builds:
        return None

    def distance(build: str) -> tuple[int, float]:
        found = [e for check in checks if (e := check.median_error(build)) is not None]
        near = statistics.fmean(math.log(max(error, _LEAST_ERROR)) for error in found)
        return -(len(found) * 2 >= len(checks)), near

    return min(sorted(builds), key=distance)
