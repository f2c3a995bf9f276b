"""An estimate as tables and lines for a terminal, in rich's types; nothing here prints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mcusim.estimates import Estimate, LayerEstimate, PartEstimate, TensorSummary
from mcusim.report.numbers import milli
from mcusim.runtimes import FlashPart, RamPart

__all__ = ["dominant_lines", "layer_table", "reason_lines", "summary_lines"]


@dataclass(frozen=True)
class _Column:
    """A column of the layer table; where space is short, the highest ``yields`` goes first."""

    title: str
    yields: int = 0
    is_text: bool = False


_COLUMNS = (
    _Column("#"),
    _Column("operator", is_text=True),
    _Column("shapes", yields=2, is_text=True),
    _Column("kernel", yields=3, is_text=True),
    _Column("MACs", yields=1),
    _Column("instructions", yields=4),
    _Column("cycles", yields=5),
    _Column("ms"),
    _Column("share"),
    _Column("mJ"),
)


def layer_table(estimate: Estimate, width: int | None = None) -> Table:
    """One row a layer, one for the interpreter if there is one, and the totals.

    Args:
        estimate: what to show.
        width: columns of the terminal; None shows everything. Numbers are never cut: where they do
            not fit, whole columns are left out.

    Returns:
        The table.
    """
    rows = [_layer_row(layer, estimate) for layer in estimate.layers]
    if estimate.invoke.is_priced:
        rows.append(_cells("", "interpreter", "", estimate.invoke, 0, estimate))
    total = [
        "",
        "total",
        "",
        "",
        f"{estimate.macs:,}",
        f"{estimate.instructions.total:,.0f}",
        f"{estimate.cycles:,.0f}",
        _milli(estimate.latency_s, estimate.latency_s),
        "100 %",
        _milli(estimate.energy_j, estimate.energy_j),
    ]
    kept = _fitting([*rows, total], width)
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False, collapse_padding=True)
    for position in kept:
        column = _COLUMNS[position]
        table.add_column(
            column.title,
            footer=total[position],
            justify="left" if column.is_text else "right",
            no_wrap=True,
        )
    for row in rows:
        table.add_row(*(Text(row[position]) for position in kept))
    # A width of its own keeps rich from cutting cells on a terminal that is narrower still.
    table.width = Console(width=1_000).measure(table).maximum
    return table


def summary_lines(estimate: Estimate) -> list[str]:
    """Totals with their intervals, RAM and flash against the board's, and what starting takes."""
    board = estimate.board
    low, high = (milli(bound) for bound in estimate.latency_interval_s)
    low_mj, high_mj = (milli(bound, 3) for bound in estimate.energy_interval_j)
    unpriced = sum(not layer.is_priced for layer in estimate.layers)
    missing = f", without {unpriced} layers that nothing prices" if unpriced else ""
    startup = estimate.construct.latency_s + estimate.allocate.latency_s
    time = [
        f"latency   {milli(estimate.latency_s)} ms (90 %: {low} to {high} ms) "
        f"at {estimate.clock_hz / 1e6:g} MHz{missing}",
        f"energy    {milli(estimate.energy_j, 3)} mJ (90 %: {low_mj} to {high_mj} mJ) "
        f"at {board.power.supply_v:g} V",
        *_calibration_lines(estimate),
    ]
    if unpriced and unpriced == len(estimate.layers):
        time = ["latency   unknown, as is energy: nothing prices any of the layers"]
    return [
        *time,
        _ram_line(estimate),
        _flash_line(estimate),
        *(
            (
                f"start-up  {milli(startup, 3)} ms once: construction "
                f"{estimate.construct.instructions.total:,.0f} and AllocateTensors "
                f"{estimate.allocate.instructions.total:,.0f} instructions",
            )
            if startup
            else ()
        ),
    ]


def _calibration_lines(estimate: Estimate) -> list[str]:
    fitted = estimate.board.calibration
    return [f"          calibrated on {fitted.measured_on}"] if fitted else []


def reason_lines(estimate: Estimate) -> list[str]:
    """Why each layer runs the kernel that it runs, and its scratch buffers, one line a layer."""
    return [
        f"why       {layer.index} {layer.operator}: {layer.reason or layer.kernel}"
        f"{f'; {layer.scratch_bytes:,} scratch bytes' if layer.scratch_bytes else ''}"
        for layer in estimate.layers
    ]


def _ram_line(estimate: Estimate) -> str:
    if estimate.memory is not None and not estimate.static_ram:
        return (
            f"RAM       {_against(estimate.memory.arena_bytes, estimate.board.ram.bytes)}: "
            "activations; stack, start-up and drivers on top"
        )
    if not estimate.static_ram:
        return "RAM       unknown: the firmware's buffers are its own"
    if estimate.arena_bytes is None or estimate.ram_bytes is None:
        generation = estimate.runtime.partition("@")[2]
        return (
            f"RAM       tensor arena unknown: TFLM of {generation} does not tell what it uses; "
            f"{_parts(estimate.static_ram)}; stack on top"
        )
    return (
        f"RAM       {_against(estimate.ram_bytes, estimate.board.ram.bytes)}: tensor arena "
        f"{estimate.arena_bytes:,} (exact), {_parts(estimate.static_ram)}; stack on top"
    )


def _flash_line(estimate: Estimate) -> str:
    used = _against(estimate.flash_bytes, estimate.board.flash.bytes, estimate.flash_interval_bytes)
    return f"flash     {used}: {_parts(estimate.flash)}"


def dominant_lines(estimate: Estimate) -> list[str]:
    """What most of the time goes to: the operators, the layer, and waiting for flash."""
    if not any(layer.cycles for layer in estimate.layers):
        return []
    by_operator: dict[str, list[LayerEstimate]] = {}
    for layer in estimate.layers:
        by_operator.setdefault(layer.operator, []).append(layer)
    shares = sorted(
        (
            (_cycles(layers) / estimate.cycles, name, len(layers))
            for name, layers in by_operator.items()
        ),
        reverse=True,
    )
    named = [
        f"{name} {100 * share:.0f} % ({count} layer{'s' if count > 1 else ''})"
        for share, name, count in shares[:3]
        if share >= 0.01
    ]
    top = max(estimate.layers, key=lambda layer: layer.cycles)
    every = (*estimate.layers, estimate.invoke)
    waiting = sum(p.cycles_by_cause.fetch + p.cycles_by_cause.data for p in every)
    cycles = estimate.cycles
    said = [
        f"layer {top.index} ({top.operator}) alone {100 * top.cycles / cycles:.0f} %",
        f"waiting for flash {100 * waiting / cycles:.0f} %",
    ]
    if instructions := estimate.instructions.total:
        said.append(f"{cycles / instructions:.2f} cycles an instruction")
    if estimate.macs:
        said.append(f"{cycles / estimate.macs:.1f} cycles a MAC")
    return [f"dominant  {', '.join(named)}", f"          {', '.join(said)}"]


def _cycles(parts: Iterable[PartEstimate]) -> float:
    return sum(part.cycles for part in parts)


def _layer_row(layer: LayerEstimate, estimate: Estimate) -> list[str]:
    shapes = f"{_shape(layer.inputs[:1])} → {_shape(layer.outputs[:1])}"
    return _cells(str(layer.index), layer.operator, shapes, layer, layer.macs, estimate)


def _cells(
    index: str, operator: str, shapes: str, part: PartEstimate, macs: int, estimate: Estimate
) -> list[str]:
    """Cells of a row; ``~`` marks what the closest profile prices, ``?`` what nothing does."""
    if not part.is_priced:
        return [index, operator, shapes, part.kernel, f"{macs:,}", *["?"] * 5]
    mark = "" if part.is_exact else "~"
    return [
        index,
        operator,
        shapes,
        part.kernel,
        f"{macs:,}",
        f"{mark}{part.instructions.total:,.0f}",
        f"{mark}{part.cycles:,.0f}",
        mark + _milli(part.latency_s, estimate.latency_s),
        f"{100 * part.cycles / estimate.cycles:.1f} %" if estimate.cycles else "",
        mark + _milli(part.energy_j, estimate.energy_j),
    ]


def _milli(value: float, total: float) -> str:
    """A value in thousandths, with as many decimals as give the column's total five digits."""
    digits = 4 - math.floor(math.log10(total * 1e3)) if total > 0 else 0
    return f"{value * 1e3:,.{max(0, digits)}f}"


def _shape(tensors: Sequence[TensorSummary]) -> str:
    return ", ".join("x".join(map(str, t.shape)) or "scalar" for t in tensors)


def _parts(parts: Sequence[FlashPart | RamPart]) -> str:
    """Sizes by part, with the kernels of all operators as one."""
    sizes: dict[str, int] = {}
    for part in parts:
        name = "kernels" if "kernel" in part.name else part.name
        sizes[name] = sizes.get(name, 0) + part.size_bytes
    return ", ".join(f"{name} {size:,}" for name, size in sizes.items())


def _against(used: int, held: int, bounds: tuple[int, int] | None = None) -> str:
    fits = "" if used <= held else ", DOES NOT FIT"
    share = f"{used:,} of {held:,} bytes ({100 * used / held:.1f} %{fits})"
    return f"{share}, 90 %: {bounds[0]:,} to {bounds[1]:,}" if bounds else share


def _fitting(rows: Sequence[Sequence[str]], width: int | None) -> list[int]:
    """Positions of the columns that fit, the most dispensable left out first."""
    widths = [
        max(len(column.title), *(len(row[i]) for row in rows)) for i, column in enumerate(_COLUMNS)
    ]
    kept = list(range(len(_COLUMNS)))
    for position in _dispensable():
        if width is None or sum(widths[i] for i in kept) + 2 * len(kept) <= width:
            break
        kept.remove(position)
    return kept


def _dispensable() -> Iterator[int]:
    order = sorted(range(len(_COLUMNS)), key=lambda i: -_COLUMNS[i].yields)
    return (i for i in order if _COLUMNS[i].yields)
