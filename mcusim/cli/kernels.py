"""``mcusim kernels``: library functions as a user built them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mcusim.cli import console

if TYPE_CHECKING:
    from mcusim.emulator.checks.contract import LibraryFunction
    from mcusim.emulator.checks.library_check import LibraryCheck
    from mcusim.emulator.checks.outcomes import CaseCheck, FunctionCheck
    from mcusim.emulator.images import Image

__all__ = ["command"]

#: Error of a function's counts that is told: layers that no profile has seen err by less, nearly
#: always.
_TOLERANCE = 0.05
#: Cases told of each function that goes wrong.
_MOST_TOLD = 3
#: Functions named in a line.
_MOST_NAMED = 8
#: What the symbols of TFLite Micro have in common.
_TFLM = "_ZN6tflite"
_COMPARED = (
    "mcusim run MODEL.tflite --board BOARD --runtime {runtime} --compare {image} runs the firmware "
    "and compares each operator's bits and instructions"
)


@click.group()
def command() -> None:
    """Look at the kernels within a firmware image."""


@command.command()
@click.argument("elf", type=click.Path(path_type=Path))
@click.option(
    "--board",
    help="A board's name or .toml file; the ELF says for which core it is where none is given.",
)
@click.option(
    "--model", "models", multiple=True, help="Model whose layers are called as well; repeatable."
)
@click.option(
    "--function", "names", multiple=True, help="Function to check; all that are there if none."
)
@click.option(
    "--cases", default=16, show_default=True, type=click.IntRange(1, 1000), help="Layers drawn."
)
@click.option("--build", help="Compiler and flag, such as gcc-O3; the closest where none is given.")
def check(
    elf: Path,
    board: str | None,
    models: tuple[str, ...],
    names: tuple[str, ...],
    cases: int,
    build: str | None,
) -> int:
    """Call the functions of CMSIS-NN within ELF, and compare bits and counts with mcusim's.

    Exit code 1 when a bit differs or a function cannot be called.
    """
    import mcusim
    from mcusim.emulator.checks.checking import BUILDS, check_function
    from mcusim.emulator.checks.library_check import LibraryCheck
    from mcusim.emulator.checks.machines import board_of
    from mcusim.emulator.checks.parameters import debug_parameters
    from mcusim.emulator.images import load_image
    from mcusim.errors import InputError

    if build is not None and build not in BUILDS:
        raise InputError(f"build {build!r} was not counted; there are {', '.join(BUILDS)}")
    image = load_image(elf)
    functions = _functions(image, names)
    where = board_of(elf, image) if board is None else mcusim.load_board(board)
    graphs = [mcusim.load_model(name) for name in models]
    declared = debug_parameters(elf, image, [function.name for function in functions])
    found: list[FunctionCheck] = []
    with console.bar(f"calling functions of {elf.name}", len(functions)) as advance:
        for function in functions:
            checked = check_function(
                image,
                where,
                function,
                count=cases,
                models=graphs,
                parameters=declared.get(function.name),
            )
            if checked is not None:
                found.append(checked)
            advance(1)
    if not found:
        raise InputError(f"{elf}: no function was called, as none of its layers is for this core")
    result = LibraryCheck.of(found, build)
    _show(result, where.core.profile)
    if not names and _has_tflm(image):
        console.show(f"operators {_COMPARED.format(runtime='cmsis-nn', image=image.name)}")
    return int(any(one.failure or one.wrong for one in result.functions))


def _functions(image: Image, names: tuple[str, ...]) -> tuple[LibraryFunction, ...]:
    """Functions of an image to check."""
    from mcusim.calibration.device_calls import FUNCTIONS as OF_DEVICE
    from mcusim.emulator.checks.checking import FUNCTIONS, functions_within
    from mcusim.errors import InputError

    known = (*FUNCTIONS, *OF_DEVICE)
    for name in names:
        if all(name != function.name for function in known):
            listed = ", ".join(function.name for function in known)
            raise InputError(f"{name} is no function that can be checked; these are: {listed}")
    found = functions_within(image, known)
    if names:
        found = tuple(function for function in found if function.name in names)
    if found:
        return found
    if names:
        raise InputError(f"{image.name}: has no symbol of {' or '.join(names)}")
    if _has_tflm(image):
        raise InputError(
            f"{image.name}: has TFLite Micro's own kernels and none of CMSIS-NN; the compiler puts "
            "them into the operators, so that they are checked as a whole: "
            + _COMPARED.format(runtime="tflm", image=image.name)
        )
    what = "no symbols: it was stripped" if not image.functions else "no kernel that mcusim knows"
    raise InputError(
        f"{image.name}: has {what}; the functions of CMSIS-NN begin with arm_, those of mcusim's "
        "bench firmware with mcusim_"
    )


def _has_tflm(image: Image) -> bool:
    return any(symbol.name.startswith(_TFLM) for symbol in image.functions)


def _show(result: LibraryCheck, core: str) -> None:
    from mcusim.emulator.checks.outcomes import Verdict
    from mcusim.emulator.checks.traits import shared_trait

    console.show(_table(result))
    for one in result.functions:
        if one.failure:
            console.show(f"{one.function}: {one.failure}")
        if one.verdict is Verdict.UNLIKE and one.releases:
            console.show(
                f"{one.function}: does nothing right, as when its arguments are others than "
                f"those of {one.releases}; debug information (-g) would tell its arguments"
            )
        told = 1 if one.verdict is Verdict.UNLIKE else _MOST_TOLD
        for case in one.wrong[:told]:
            console.show(f"{one.function}, {case.label}: {_said(case)}")
        if len(one.wrong) > told:
            console.show(f"{one.function}: {len(one.wrong) - told} more cases")
        if shared := shared_trait(one.cases):
            console.show(f"{one.function}: all wrong layers have {_of_release(*shared)}")
    console.show(f"bits      {_bits(result)}")
    console.show(f"counts    {_counts(result, core)}")


def _of_release(trait: str, of_right: int) -> str:
    """What wrong layers have, how many right ones have it as well, and what is known of it."""
    known = {
        "several images": " (pooling before CMSIS-NN 6.0.0 takes one)",
        "several groups": " (convolutions before CMSIS-NN 6.0.0 take one)",
        "a dilation": " (int8 convolutions before CMSIS 5.9.0 take none)",
    }
    also = f"as {of_right} right ones do" if of_right else "and no right one does"
    return f"{trait}{known.get(trait, '')}, {also}"


def _said(case: CaseCheck) -> str:
    """What is wrong with a case."""
    if case.refusal:
        return f"returns {case.refusal} and computes nothing"
    said = []
    if case.bits.differing:
        said.append(f"{case.bits.differing:,} of {case.values:,} differ, {case.bits.first}")
        if case.once is not None and not case.once.differing:
            said.append("as if it rounded once (CMSIS_NN_USE_SINGLE_ROUNDING)")
    return "; ".join([*said, case.damage] if case.damage else said)


def _bits(result: LibraryCheck) -> str:
    wrong = [one for one in result.functions if one.failure or one.wrong]
    calls = sum(len(one.cases) for one in result.functions)
    what = "functions" if len(result.functions) > 1 else "function"
    once = ", rounded once (CMSIS_NN_USE_SINGLE_ROUNDING)" if result.rounds_once else ""
    if not wrong:
        return f"{len(result.functions)} {what}, {calls:,} calls: all equal{once}"
    named = ", ".join(one.function for one in wrong[:_MOST_NAMED])
    if len(wrong) > _MOST_NAMED:
        named += f" and {len(wrong) - _MOST_NAMED} more"
    return f"{len(wrong)} of {len(result.functions)} {what} not equal: {named}{once}"


def _counts(result: LibraryCheck, core: str) -> str:
    error = result.median_error
    if result.build is None or error is None:
        return f"no profile of these functions was counted on {core}"
    how = "the closest" if result.is_guessed else "as told"
    said = f"{core}, {result.build} ({how}): median {100 * error:.1f} % off"
    off = result.off(_TOLERANCE)
    if not off:
        return f"{said}; no function is off by more than {100 * _TOLERANCE:.0f} %"
    named = ", ".join(f"{one.function} {100 * far:.0f} %" for one, far in off[:_MOST_NAMED])
    if len(off) > _MOST_NAMED:
        named += f" and {len(off) - _MOST_NAMED} more"
    return (
        f"{said}; by more than {100 * _TOLERANCE:.0f} %: {named}: compiled otherwise than what was "
        "counted, so that estimates of this firmware err by as much there"
    )


def _table(result: LibraryCheck) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("function", no_wrap=True)
    for title in ("cases", "bits", "counts off", "at most"):
        table.add_column(title, justify="right", no_wrap=True)
    for one in result.functions:
        errors = one.errors(result.build) if result.build else ()
        median = one.median_error(result.build) if result.build else None
        table.add_row(
            Text(one.function),
            f"{len(one.cases):,}",
            _verdict(one),
            "?" if median is None else f"{100 * median:.1f} %",
            f"{100 * max(errors, key=abs):+.1f} %" if errors else "",
        )
    return table


def _verdict(one: FunctionCheck) -> str:
    from mcusim.emulator.checks.outcomes import Verdict

    refused = len(one.cases) - len(one.computed)
    if one.verdict is Verdict.EQUAL:
        return f"equal, {refused} refused" if refused else "equal"
    if one.verdict is Verdict.WRONG:
        return f"{len(one.wrong)} cases differ"
    return str(one.verdict.value)
