"""CMSIS-NN as a user built it, called function by function: its bits and counts against ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from mcusim.boards import Board
from mcusim.emulator.arguments import Argument, Pointer, Struct
from mcusim.emulator.checks import elements, products, recurrent
from mcusim.emulator.checks.cases import drawn_cases, kind_of, model_cases, rounded_once
from mcusim.emulator.checks.contract import Case, FunctionCall, LibraryFunction, Version
from mcusim.emulator.checks.machines import machine_for_calls
from mcusim.emulator.checks.outcomes import Bits, CaseCheck, FunctionCheck
from mcusim.emulator.checks.prices import predicted
from mcusim.emulator.checks.traits import traits_of
from mcusim.emulator.images import Image
from mcusim.emulator.machine import Machine
from mcusim.errors import FirmwareError, InputError
from mcusim.graph import Array, Graph

__all__ = ["BUILDS", "FUNCTIONS", "check_function", "functions_within"]

#: Every function that can be checked.
FUNCTIONS: tuple[LibraryFunction, ...] = (
    *products.FUNCTIONS,
    *elements.FUNCTIONS,
    *recurrent.FUNCTIONS,
)
#: Builds that the library was counted in.
BUILDS = ("gcc-O3", "gcc-O2", "gcc-Os", "gcc-mk", "gcc-O3-asm", "gcc-O3-sr")

#: Bytes behind each array that must stay as they are.
_GUARD = np.frombuffer(b"\xa5\x5a\xc3\x3c" * 8, np.uint8)
#: Layers with which it is found out how a function is declared.
_PROBES = 3
#: Layers drawn for one that the library computes by the function.
_MOST_DRAWN = 60
#: Far more than the largest layer drawn takes.
_MOST_INSTRUCTIONS = 200_000_000


def functions_within(
    image: Image, known: Sequence[LibraryFunction] = FUNCTIONS
) -> tuple[LibraryFunction, ...]:
    """Those of some functions that an image has symbols of."""
    return tuple(function for function in known if image.symbol(function.name) is not None)


def check_function(
    image: Image,
    board: Board,
    function: LibraryFunction,
    *,
    count: int = 16,
    models: Sequence[Graph] = (),
    parameters: tuple[str, ...] | None = None,
) -> FunctionCheck | None:
    """Call a function with drawn layers, and with those of models.

    Args:
        image: the user's build.
        board: with the core that it was built for.
        function: one of :func:`functions_within`.
        count: layers drawn.
        models: their layers of the function's kind are called as well.
        parameters: of the function, where debug information names them.

    Returns:
        What came of it; None where there is no layer for it, on that core.
    """
    core = board.core.profile
    cases = list(_cases(function, core, count, models))
    if not cases:
        return None
    versions = _declared(function, parameters)
    if not versions:
        assert parameters is not None
        known = " or ".join(str(len(version.parameters)) for version in function.versions)
        return FunctionCheck(
            function.name,
            "",
            (),
            f"has {len(parameters)} parameters ({', '.join(parameters)}), not {known} as the "
            "releases of CMSIS-NN that mcusim knows; not called",
            is_entry=function.is_entry,
        )
    checker = _Checker(lambda: machine_for_calls(image, board), function, core)
    version = checker.version(versions, cases[:_PROBES])
    return replace(checker.check(version, cases), is_declared=parameters is not None)


def _declared(function: LibraryFunction, parameters: tuple[str, ...] | None) -> tuple[Version, ...]:
    """Versions of a function that have as many parameters as debug information names."""
    if parameters is None:
        return function.versions
    return tuple(v for v in function.versions if len(v.parameters) == len(parameters))


def _cases(
    function: LibraryFunction, core: str, count: int, models: Sequence[Graph]
) -> Iterator[Case]:
    drawn = islice(drawn_cases(function.cases, core), count * _MOST_DRAWN)
    fitting = (case for case in drawn if function.is_for(case))
    yield from islice(fitting, count)
    for graph in models:
        for case in model_cases(graph, core):
            if _is_of(function, case):
                yield case


def _is_of(function: LibraryFunction, case: Case) -> bool:
    kind = kind_of(case.node)
    if kind is None or not function.cases.startswith(kind):
        return False
    # Of a kind that is narrower than an operator and a type, the library's choice tells.
    return function.is_for(case) and ("," not in function.cases or case.runs(function.name))


class _Checker:
    """Calls of one function."""

    def __init__(self, make: Callable[[], Machine], function: LibraryFunction, core: str) -> None:
        self._make = make
        self._machine: Machine | None = None
        self._function = function
        self._core = core

    def version(self, versions: Sequence[Version], probes: Sequence[Case]) -> Version:
        """The declaration by which a function gives the most outputs right, the newest of such."""
        if len(versions) == 1:
            return versions[0]

        def right(version: Version) -> int:
            found = self.check(version, probes)
            return sum(case.is_right for case in found.cases) if not found.failure else -1

        return max(versions, key=right)

    def check(self, version: Version, cases: Sequence[Case]) -> FunctionCheck:
        """Call the function for each of some cases."""
        found: list[CaseCheck] = []
        failure = ""
        for case in cases:
            if not version.takes(case):
                continue
            # Where it cannot be made, no function can be called: that is no failure of this one.
            machine = self._machine = self._machine or self._make()
            try:
                found.append(self._call(machine, version, case))
            except (FirmwareError, InputError) as error:
                self._machine = None  # what it left in memory is not known
                failure = f"{case.label}: {error}"
                break
        name, is_entry = self._function.name, self._function.is_entry
        return FunctionCheck(name, version.releases, tuple(found), failure, is_entry=is_entry)

    def _call(self, machine: Machine, version: Version, case: Case) -> CaseCheck:
        prepared = version.call(case)
        guarded: dict[int, Array] = {}
        arguments = [_guarded(argument, guarded) for argument in prepared.arguments]
        result = machine.call(
            self._function.name,
            *arguments,
            returns=np.int32 if prepared.returns_status else None,
            max_instructions=_MOST_INSTRUCTIONS,
        )
        after = {key: np.asarray(result.array_of(array)) for key, array in guarded.items()}
        damage = _damage(prepared, after)
        status = int(result.value) if prepared.returns_status else 0
        values = case.expected.size + sum(right.size for _, right in prepared.states.values())
        bits = _bits(prepared, after, case.expected)
        if status and bits.differing:
            return CaseCheck(
                case.label,
                values,
                Bits(0),
                damage=damage,
                refusal=status,
                traits=traits_of(case),
            )
        single = rounded_once(case, self._core)
        once = None
        if single is not None and not np.array_equal(single, case.expected):
            once = _bits(prepared, after, single)
        prices = {
            build: price
            for build in BUILDS
            if (price := predicted(case, self._function.name, self._core, build)) is not None
        }
        executed = result.instructions.total
        return CaseCheck(
            case.label,
            values,
            bits,
            once,
            damage,
            executed=executed,
            predicted=prices,
            traits=traits_of(case),
            is_unwritten=np.array_equal(
                _values(after[id(prepared.output)], prepared.output), prepared.output
            ),
        )


def _bits(call: FunctionCall, after: Mapping[int, Array], expected: Array) -> Bits:
    """Output and states beside what they must be."""
    differing, first = 0, ""
    for name, (given, right) in {"output": (call.output, expected), **call.states}.items():
        values = _values(after[id(given)], right)
        places = np.argwhere(values != right)
        differing += len(places)
        if len(places) and not first:
            at = tuple(int(i) for i in places[0])
            what = "element" if name == "output" else f"{name} element"
            first = f"{what} {list(at)} is {values[at]}, not {right[at]}"
    return Bits(differing, first)


def _guarded(argument: Argument, guarded: dict[int, Array]) -> Argument:
    """An argument whose arrays have guards behind them; remembers which is which."""
    if isinstance(argument, Pointer):
        inner = _guarded(argument.target, guarded)
        assert isinstance(inner, Struct)
        return Pointer(inner)
    if isinstance(argument, Struct):
        return Struct(tuple(_guarded(member, guarded) for member in argument.members))
    if isinstance(argument, np.ndarray):
        if id(argument) not in guarded:
            own = np.ascontiguousarray(argument).reshape(-1).view(np.uint8)
            guarded[id(argument)] = np.concatenate([own, _GUARD])
        return guarded[id(argument)]
    return argument


def _values(after: Array, like: Array) -> Array:
    """An array without its guard."""
    own = np.ascontiguousarray(after[: like.nbytes])
    return np.asarray(own.view(like.dtype).reshape(like.shape))


def _damage(call: FunctionCall, after: Mapping[int, Array]) -> str:
    """What a function did to memory that is not its own."""
    own = {id(call.output): "its output"}
    own |= {id(given): f"its {name}" for name, (given, _) in call.states.items()}
    own |= {id(buffer): f"its buffer of {buffer.nbytes} bytes" for buffer in call.buffers}
    for argument in call.arguments:
        for given in _arrays(argument):
            left = after[id(given)]
            name = own.get(id(given))
            if not np.array_equal(left[-_GUARD.size :], _GUARD):
                what = name or f"an input of {given.nbytes} bytes"
                return f"writes behind {what}"
            before = np.ascontiguousarray(given).reshape(-1).view(np.uint8)
            if name is None and not np.array_equal(left[: -_GUARD.size], before):
                return f"changes an input of {given.nbytes} bytes"
    return ""


def _arrays(argument: Argument) -> Iterator[Array]:
    if isinstance(argument, Pointer):
        yield from _arrays(argument.target)
    elif isinstance(argument, Struct):
        for member in argument.members:
            yield from _arrays(member)
    elif isinstance(argument, np.ndarray):
        yield argument
