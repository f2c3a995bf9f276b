"""Fits the profiles of a library's functions, which call one another, on whole calls at once.

A counted row is the sum of several profiles: a convolution, the matrix product it calls, the glue
around both. Rows that share a profile are fitted together, so that one profile serves them all.
Where it was counted how many instructions each compiled function executed, a row's total is split
by function, which tells the levels apart; the classes then follow the totals.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mcusim.calibration.class_fit import classes_of
from mcusim.calibration.level_fit import Floats, Prior, fit_levels, folds
from mcusim.errors import McusimError
from mcusim.instruction_mix import CLASSES
from mcusim.kernels.contract import KernelCall

__all__ = ["LibraryFit", "Observation", "ProfileFit", "components", "fit_library"]

#: How far a level may be from what it costs in another build, or in a like function of the same
#: build, relative, where rows cannot tell.
_ANOTHER_BUILD = 0.3
#: Functions of few counted rows, and the function that runs the same loops.
_LIKE = {
    "arm_nn_mat_mult_kernel_row_offset_s8_s16": "arm_nn_mat_mult_kernel_s8_s16",
    "arm_nn_vec_mat_mult_t_per_ch_s8": "arm_nn_vec_mat_mult_t_s8",
    "arm_nn_vec_mat_mult_t_s8_filter_offset": "arm_nn_vec_mat_mult_t_s8",
    "arm_nn_vec_mat_mult_t_svdf_s8": "arm_nn_vec_mat_mult_t_s8",
    "arm_svdf_s8": "arm_svdf_state_s16_s8",
    "arm_avgpool_s16": "arm_avgpool_s8",
    "arm_max_pool_s16": "arm_max_pool_s8",
    "arm_nn_mat_mult_kernel_s16": "arm_nn_mat_mult_kernel_s8_s16",
    "arm_convolve_s16": "arm_convolve_s8",
    "arm_depthwise_conv_s16": "arm_depthwise_conv_s8",
}
#: Builds that requantize in another way than the build they lean on.
_OTHER_SCALING = ("-asm", "-sr")
#: Begin of loops that the compiler makes with one flag only: another build tells nothing of them.
_ONE_FLAG = ("kept_3", "kept_4")
#: Functions that some builds compile in parts: those parts that were counted are not all of it.
_IN_PARTS = ("arm_transpose_s8",)
#: Levels that begin so are turns of a function of the C library, or of the compiler's.
_C_LIBRARY = {
    "copy.": "memcpy",
    "fill.": "memset",
    "quotient.": "__divsi3",
    "scaling.": "__muldi3",
}
#: Of these there are too many calls, by too many functions, to belong to the one that was called.
_BY_ALL = ("__muldi3",)
#: What a turn of some levels takes, in instructions, where no row tells: the addition of a bias,
#: which hardly a row goes without; products of more than 512, summed one by one in 64 bits; one to
#: three products left, and those of a last odd filter, which the counted shapes always run beside
#: as many others.
_TYPICAL = {
    "bias": 4.0,
    "wide_product": 14.0,
    "tail_1": 8.0,
    "tail_2": 16.0,
    "tail_3": 24.0,
    "odd_filter.row": 30.0,
    "odd_filter.product": 7.0,
}


@dataclass(frozen=True, eq=False)
class Observation:
    """One counted run, and the kernels that it ran.

    Attributes:
        id: its name, one of a kind in its build.
        kind: what it is, for the table of errors, such as ``"conv_s8"``.
        build: ``"<core>.<build>"``.
        calls: the kernels it ran, with the turns that its own data made.
        expected: the same for data that is not known.
        vector: instructions by class, or the total alone.
        top_functions: where they were spent.
    """

    id: str
    kind: str
    build: str
    calls: tuple[KernelCall, ...]
    expected: tuple[KernelCall, ...]
    vector: npt.NDArray[np.float64]
    top_functions: str = ""


@dataclass(frozen=True, eq=False)
class ProfileFit:
    """One profile in one build.

    Attributes:
        levels: names of its loop levels.
        per_turn: what one turn executes, shape ``(levels, classes)``.
        rows: counted runs that call it.
        errors: of those, relative errors of the total when kept out of the fit, signed.
        unseen: levels that none of them ran.
    """

    levels: tuple[str, ...]
    per_turn: Floats
    rows: int
    errors: Floats
    unseen: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class LibraryFit:
    """Everything fitted in one build on rows that hang together.

    Attributes:
        build: ``"<core>.<build>"``.
        observations: the counted runs.
        fit_errors: their relative errors in the fit, signed.
        errors: the same for each run when kept out of the fit, its data not known.
        errors_on_data: the same with its data known.
        predicted: instructions by class as fitted, shape ``(runs, classes)``.
        profiles: by name.
    """

    build: str
    observations: tuple[Observation, ...]
    fit_errors: Floats
    errors: Floats
    errors_on_data: Floats
    predicted: Floats
    profiles: Mapping[str, ProfileFit]


def fit_library(
    observations: Iterable[Observation], known: Mapping[str, ProfileFit] | None = None
) -> list[LibraryFit]:
    """Fit the profiles of one build.

    Args:
        observations: counted runs of one build.
        known: the same profiles in another build, on which to lean where these rows are few.

    Raises:
        McusimError: two calls of one profile do not name the same loop levels.
    """
    return [_fit(members, known or {}) for members in components(list(observations))]


def components(observations: Sequence[Observation]) -> list[list[Observation]]:
    """Rows of one build by what hangs together through common or like profiles."""
    home: dict[str, str] = {}

    def root(name: str) -> str:
        while home.setdefault(name, name) != name:
            name = home[name]
        return name

    for observation in observations:
        first, *others = [call.profile for call in observation.calls]
        for other in others:
            home[root(other)] = root(first)
    for name in list(home):
        folder, _, function = name.rpartition("/")
        if function in _LIKE and f"{folder}/{_LIKE[function]}" in home:
            home[root(f"{folder}/{_LIKE[function]}")] = root(name)
    groups: dict[str, list[Observation]] = defaultdict(list)
    for observation in observations:
        groups[root(observation.calls[0].profile)].append(observation)
    return [sorted(members, key=lambda o: o.id) for _, members in sorted(groups.items())]


def _fit(observations: Sequence[Observation], known: Mapping[str, ProfileFit]) -> LibraryFit:
    levels: dict[str, tuple[str, ...]] = {}
    for observation in observations:
        for call in (*observation.calls, *observation.expected):
            named = levels.setdefault(call.profile, tuple(call.trips))
            if set(named) != set(call.trips):
                raise McusimError(
                    f"{call.profile}: {observation.id} has levels {sorted(call.trips)}, another "
                    f"row has {sorted(named)}; a profile has one set of levels"
                )
    columns = {
        key: position
        for position, key in enumerate((p, n) for p, names in levels.items() for n in names)
    }

    def turns_of(calls: Sequence[KernelCall]) -> Floats:
        row = np.zeros(len(columns))
        for call in calls:
            for level, turns in call.trips.items():
                row[columns[call.profile, level]] += turns
        return row

    turns = np.array([turns_of(o.calls) for o in observations])
    expected = np.array([turns_of(o.expected) for o in observations])
    counts = np.array([o.vector for o in observations])
    totals = counts[:, : len(CLASSES)].sum(axis=1)
    parts = _Parts.of(observations, columns)
    prior = _prior(columns, known, observations[0].build)
    per_level = parts.fit(np.arange(len(observations)), prior, columns)
    held_out, on_data = np.full((2, len(observations)), np.nan)
    for fold in folds([o.id for o in observations]):
        rest = np.setdiff1d(np.arange(len(observations)), fold)
        if rest.size:
            seen = parts.fit(rest, prior, columns)
            held_out[fold] = expected[fold] @ seen / totals[fold] - 1.0
            on_data[fold] = turns[fold] @ seen / totals[fold] - 1.0
    per_turn = classes_of(turns, counts, per_level)
    profiles = {}
    for profile, names in levels.items():
        own = [columns[profile, name] for name in names]
        calling = np.flatnonzero([profile in {c.profile for c in o.calls} for o in observations])
        ran = [bool(turns[:, column].any()) for column in own]
        profiles[profile] = ProfileFit(
            names,
            per_turn[own],
            len(calling),
            held_out[calling],
            tuple(name for name, seen in zip(names, ran, strict=True) if not seen),
        )
    return LibraryFit(
        observations[0].build,
        tuple(observations),
        turns @ per_level / totals - 1.0,
        held_out,
        on_data,
        turns @ per_turn,
        profiles,
    )


@dataclass(frozen=True, eq=False)
class _Parts:
    """Counted totals, each of a function of a row or of a whole row.

    Attributes:
        turns: of the levels that make up a part, shape ``(parts, levels)``.
        totals: instructions of each part.
        rows: the row of each part.
    """

    turns: Floats
    totals: Floats
    rows: npt.NDArray[np.intp]

    @classmethod
    def of(
        cls, observations: Sequence[Observation], columns: Mapping[tuple[str, str], int]
    ) -> _Parts:
        turns: list[Floats] = []
        totals: list[float] = []
        rows: list[int] = []
        for position, observation in enumerate(observations):
            for row, total in _split(observation, columns):
                turns.append(row)
                totals.append(total)
                rows.append(position)
        return cls(np.array(turns), np.array(totals), np.array(rows))

    def fit(
        self,
        rows: npt.NDArray[np.intp],
        prior: Prior | None,
        columns: Mapping[tuple[str, str], int],
    ) -> Floats:
        """Instructions of a turn of each level, fitted on some rows."""
        seen = np.isin(self.rows, rows)
        turns, totals = self.turns[seen], self.totals[seen, np.newaxis]
        found = fit_levels(turns, totals, prior)
        likes = {
            (profile, level): (f"{profile.rpartition('/')[0]}/{_LIKE[name]}", level)
            for profile, level in columns
            if (name := profile.rpartition("/")[2]) in _LIKE
        }
        if likes:
            like = Prior.none(len(columns), 1)
            if prior is not None:
                like.per_turn[:], like.spread[:] = prior.per_turn, prior.spread
            for own, other in likes.items():
                if other in columns:
                    like.per_turn[columns[own]] = found[columns[other]]
                    like.spread[columns[own]] = _ANOTHER_BUILD
            found = fit_levels(turns, totals, like)
        return found[:, 0]


#: Stands for all functions of the library that ran, and those of the compiler that they called.
_CALLERS = "arm_*"


def _counted(observation: Observation) -> dict[str, float]:
    """Instructions of the functions that were counted, the first few within TFLM."""
    return {
        name: float(count)
        for name, _, count in (part.rpartition(":") for part in observation.top_functions.split())
    }


def _helpers(observation: Observation) -> float:
    """Instructions of the compiler's functions, as multiply and divide on ARMv6-M."""
    return sum(count for name, count in _counted(observation).items() if name.startswith("__"))


def _split(
    observation: Observation, columns: Mapping[tuple[str, str], int]
) -> list[tuple[Floats, float]]:
    """A row's turns and total by function, as far as its functions were told apart."""
    counted = _functions(observation)
    split: dict[str, Floats] = {}
    for call in observation.calls:
        for level, count in call.trips.items():
            library = (f for start, f in _C_LIBRARY.items() if level.startswith(start))
            function = next(library, call.kernel)
            name = function if function in counted else ""
            row = split.setdefault(name, np.zeros(len(columns)))
            row[columns[call.profile, level]] += count
    rest = float(observation.vector[: len(CLASSES)].sum())
    parts = {name: counted[name] for name in split if name}
    rest -= sum(parts.values())
    if "" not in split or not split[""].any():
        if any(name in counted and name not in parts for name in _BY_ALL):
            # What all of them call belongs to none: all but the C library are one part.
            own = [name for name in parts if name not in _C_LIBRARY.values()]
            split[""] = np.sum([split[name] for name in own], axis=0)
            rest += sum(parts.pop(name) for name in own)
        else:
            parts[observation.calls[0].kernel] += rest
            rest = 0.0
    if rest > 0:
        parts[""] = rest
    return [(split[name], total) for name, total in parts.items()]


def _functions(observation: Observation) -> dict[str, float]:
    """Instructions of each function that a call or the C library names, if it can be told.

    Nothing where another function ran that no call names, or one that a call names did not: one
    of them then contains the turns of the other.
    Within TFLM, of which the longest functions were counted, what is left is the glue and what a
    call names beside them; on ARMv6-M functions of the compiler are among that.
    """
    counted = _counted(observation)
    named = {call.kernel for call in observation.calls}
    # A kernel that asks for its buffer's size does so in two instructions.
    library = {n for n in counted if n.startswith("arm_") and not n.endswith("_get_buffer_size")}
    if library - named:
        return {}
    is_whole = sum(counted.values()) == observation.vector[: len(CLASSES)].sum()
    if not is_whole and observation.build.startswith("m0plus."):
        return {}
    if is_whole and any(_is_inlined(call, counted) for call in observation.calls):
        return {}
    return {
        name: count
        for name, count in counted.items()
        if (name in named and name not in _IN_PARTS)
        or name in _C_LIBRARY.values()
        or name in _BY_ALL
    }


def _is_inlined(call: KernelCall, counted: Mapping[str, float]) -> bool:
    """Whether a function of the library ran, but as a part of another one."""
    if call.kernel in counted or call.kernel in _C_LIBRARY.values():
        return False
    return any(
        turns and not level.startswith(tuple(_C_LIBRARY)) for level, turns in call.trips.items()
    )


def _prior(
    columns: Mapping[tuple[str, str], int], known: Mapping[str, ProfileFit], build: str
) -> Prior | None:
    prior = Prior.none(len(columns), 1)
    prior.spread[:] = _ANOTHER_BUILD
    scales_alike = not build.endswith(_OTHER_SCALING)
    for (profile, level), position in columns.items():
        other = known.get(profile)
        told = other is not None and level in other.levels and not level.startswith(_ONE_FLAG)
        if other is not None and told and (scales_alike or "_shift" not in level):
            row = other.per_turn[other.levels.index(level)]
            prior.per_turn[position] = row[: len(CLASSES)].sum()
        else:
            typical = (turns for end, turns in _TYPICAL.items() if level.endswith(end))
            prior.per_turn[position] = next(typical, np.nan)
    return None if np.isnan(prior.per_turn).all() else prior
