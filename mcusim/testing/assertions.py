"""What a test may hold a model to: bits, memory and time."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import mcusim
from mcusim.boards import Board
from mcusim.errors import InputError
from mcusim.estimates import Estimate
from mcusim.graph import Array, Graph
from mcusim.report.numbers import milli
from mcusim.verify import (
    Verification,
    random_inputs,
    read_snapshot,
    take_snapshot,
    verify,
    verify_recorded,
)

__all__ = ["StraddlesBudget", "assert_bit_exact", "assert_fits", "assert_latency"]


class StraddlesBudget(UserWarning):
    """The budget lies inside the 90 % interval: the prediction says neither yes nor no.

    ``filterwarnings = ["error::mcusim.testing.StraddlesBudget"]`` makes it a failure.
    """


def assert_bit_exact(
    model: str | Path | Graph,
    inputs: Array | Sequence[object] | None = None,
    *,
    runtime: str = "cmsis-nn",
    against: str | Path | Mapping[str, Array] = "tflm",
    core: str = "m4",
) -> None:
    """Fail unless a model computes the same bits as another runtime, or as was recorded.

    Args:
        model: a path, the name of a network of the zoo, or a graph.
        inputs: as for :meth:`mcusim.Interpreter.invoke`; eight random inputs when None.
        runtime: the runtime under test.
        against: another runtime; a snapshot, as a path that ends in ``.toml``; or recorded arrays
            by the names of tensors, which need ``inputs``.
        core: the device's core.

    Raises:
        AssertionError: bits differ; the text names operators, elements and rounding steps.
        InputError: inputs or records do not fit the model, or there is no such runtime.
        ModelError: a runtime cannot run the model.
    """
    graph = _graph(model)
    if isinstance(against, Mapping):
        if inputs is None:
            raise mcusim.InputError("recorded arrays need the inputs they were computed from")
        _assert_equal(verify_recorded(graph, inputs, against, runtime=runtime, core=core))
        return
    if isinstance(against, Path) or against.endswith(".toml"):
        given = random_inputs(graph) if inputs is None else inputs
        now = take_snapshot(graph, given, runtime=runtime, core=core)
        changes = read_snapshot(Path(against)).changes(now)
        told = [
            f"operator {change.index} ({change.operator}), {change.tensor!r}: {change.why}"
            for change in changes
            if change.is_cause
        ]
        if told:
            text = f"{graph.name} under {runtime} computes other bits than {against} holds"
            raise AssertionError("\n".join([text, *told]))
        return
    _assert_equal(verify(graph, inputs, runtime=runtime, against=against, core=core))


def assert_fits(
    model: str | Path | Graph,
    board: str | Path | Board,
    *,
    ram_share: float = 1.0,
    flash_share: float = 1.0,
    runtime: str = "tflm",
    build: str = "gcc-O3",
) -> Estimate:
    """Fail unless a model leaves room in a board's RAM and flash.

    Args:
        model: a path, the name of a network of the zoo, or a graph.
        board: a name, a path or a board.
        ram_share: share of the RAM that arena and variables may take; the stack comes on top.
        flash_share: share of the flash that model, runtime and kernels may take.
        runtime: the software that runs the model.
        build: compiler and flag.

    Returns:
        The estimate.

    Raises:
        AssertionError: it does not fit, or the runtime does not tell what it needs.
        InputError: a share is negative or not a number.
    """
    _not_negative("ram_share", ram_share)
    _not_negative("flash_share", flash_share)
    found = _estimate(model, board, runtime, build)
    told = []
    needs = (
        ("RAM", found.ram_bytes, ram_share, found.board.ram.bytes),
        ("flash", found.flash_bytes, flash_share, found.board.flash.bytes),
    )
    for name, needed, share, size in needs:
        if needed is None:
            told.append(f"what it needs of the {name} is not known under {runtime}")
        elif needed > share * size:
            part = "" if share == 1 else f"{100 * share:g} % of "
            told.append(f"takes {needed:,} bytes of {name}, more than {part}{size:,}")
    if told:
        raise AssertionError(f"{found.model} on {found.board.name}: {'; '.join(told)}")
    return found


def assert_latency(
    model: str | Path | Graph,
    board: str | Path | Board,
    *,
    below_s: float,
    runtime: str = "tflm",
    build: str = "gcc-O3",
) -> Estimate:
    """Fail if a model takes longer than a budget; warn where its interval straddles the budget.

    Args:
        model: a path, the name of a network of the zoo, or a graph.
        board: a name, a path or a board.
        below_s: the budget for one inference, in seconds.
        runtime: the software that runs the model.
        build: compiler and flag.

    Returns:
        The estimate.

    Raises:
        AssertionError: the whole 90 % interval lies above the budget, or a layer has no price.
        InputError: the budget is negative or not a number.

    Warns:
        StraddlesBudget: the budget lies inside the interval.
    """
    _not_negative("below_s", below_s)
    found = _estimate(model, board, runtime, build)
    unpriced = [layer for layer in found.layers if not layer.is_priced]
    low, high = found.latency_interval_s
    said = (
        f"{found.model} on {found.board.name} under {found.runtime} takes {milli(low, 3)} to "
        f"{milli(high, 3)} ms (90 %), the budget is {milli(below_s, 3)} ms"
    )
    if unpriced:
        named = ", ".join(f"operator {layer.index} ({layer.operator})" for layer in unpriced)
        raise AssertionError(f"{said}; nothing prices {named}, so that the time is not known")
    if low > below_s:
        raise AssertionError(said)
    if high > below_s:
        warnings.warn(f"{said}: the interval straddles it", StraddlesBudget, stacklevel=2)
    return found


def _graph(model: str | Path | Graph) -> Graph:
    return model if isinstance(model, Graph) else mcusim.load_model(model)


def _estimate(
    model: str | Path | Graph, board: str | Path | Board, runtime: str, build: str
) -> Estimate:
    loaded = board if isinstance(board, Board) else mcusim.load_board(board)
    return mcusim.estimate(_graph(model), loaded, runtime, build)


def _assert_equal(found: Verification) -> None:
    if found.equal:
        return
    lines = [f"{found.model}: {found.runtime} computes other bits than {found.against}"]
    lines += [
        f"operator {d.index} ({d.operator}), {d.tensor!r}: {d.differing:,} of {d.elements:,} "
        f"elements, by up to {d.largest:g}; element {list(d.element)} of inference "
        f"{d.inference} is {d.value:g} against {d.other:g}: {d.why}"
        for d in found.differences
    ]
    if found.carried:
        listed = ", ".join(map(str, found.carried))
        lines.append(f"differing only because their inputs do: operators {listed}")
    raise AssertionError("\n".join(lines))


def _not_negative(name: str, value: float) -> None:
    """Every comparison with NaN is false, so that it would pass any model."""
    if not value >= 0:
        raise InputError(f"{name} must be a number from 0, not {value:g}")
