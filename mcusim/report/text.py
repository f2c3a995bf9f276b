"""An estimate as Markdown, for a pull request, and as CSV, for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from mcusim.duty_cycle import DutyCycle
from mcusim.estimates import Estimate, LayerEstimate, PartEstimate
from mcusim.report.duty import duty_cycle_sentences
from mcusim.report.numbers import milli

__all__ = ["csv_text", "markdown_text"]

_HEADINGS = (
    "index",
    "operator",
    "kernel",
    "inputs",
    "outputs",
    "macs",
    "instructions",
    "cycles",
    "cycles_executing",
    "cycles_waiting_for_code",
    "cycles_waiting_for_constants",
    "cycles_waiting_for_activations",
    "latency_s",
    "latency_low_s",
    "latency_high_s",
    "energy_j",
    "energy_low_j",
    "energy_high_j",
    "scratch_bytes",
    "priced_by",
)


def csv_text(estimate: Estimate) -> str:
    """One row a layer, and one for the interpreter; what nothing prices has empty cells."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADINGS)
    for layer in estimate.layers:
        shapes = [
            ";".join("x".join(map(str, t.shape)) for t in tensors)
            for tensors in (layer.inputs, layer.outputs)
        ]
        head = [layer.index, layer.operator, layer.kernel, *shapes, layer.macs]
        writer.writerow([*head, *_costs(estimate, layer), layer.scratch_bytes, layer.priced_by])
    if estimate.invoke.is_priced:
        part = estimate.invoke
        head = ["", "interpreter", part.kernel, "", "", 0]
        writer.writerow([*head, *_costs(estimate, part), 0, part.priced_by])
    return text.getvalue()


def _costs(estimate: Estimate, part: PartEstimate) -> list[float | str]:
    if not part.is_priced:
        return [""] * 12
    cycles = part.cycles_by_cause
    if isinstance(part, LayerEstimate):
        interval_s, interval_j = part.latency_interval_s, part.energy_interval_j
    else:
        share_s, share_j = part.latency_s / estimate.latency_s, part.energy_j / estimate.energy_j
        low_s, high_s = estimate.latency_interval_s
        low_j, high_j = estimate.energy_interval_j
        interval_s = (share_s * low_s, share_s * high_s)
        interval_j = (share_j * low_j, share_j * high_j)
    return [
        part.instructions.total,
        part.cycles,
        cycles.core,
        cycles.fetch,
        cycles.data,
        cycles.working,
        part.latency_s,
        *interval_s,
        part.energy_j,
        *interval_j,
    ]


def markdown_text(estimate: Estimate, cycle: DutyCycle | None = None) -> str:
    """Totals, the costliest layers, and every warning; inferences at an interval, if given."""
    return "\n".join(_markdown(estimate, cycle)) + "\n"


def _markdown(estimate: Estimate, cycle: DutyCycle | None) -> Iterator[str]:
    board = estimate.board
    low, high = (milli(bound) for bound in estimate.latency_interval_s)
    low_mj, high_mj = (milli(bound, 3) for bound in estimate.energy_interval_j)
    yield f"### {_cell(estimate.model)} on {board.name}"
    yield ""
    yield f"{estimate.clock_hz / 1e6:g} MHz, {estimate.runtime}, {estimate.build}"
    yield ""
    yield "| | predicted | 90 % |"
    yield "|---|--:|--:|"
    yield f"| latency | {milli(estimate.latency_s)} ms | {low} to {high} ms |"
    yield f"| energy | {milli(estimate.energy_j, 3)} mJ | {low_mj} to {high_mj} mJ |"
    ram, arena = "unknown", ""
    if estimate.ram_bytes is not None:
        ram = f"{estimate.ram_bytes:,} bytes of {board.ram.bytes:,}"
        arena = f"tensor arena exactly {estimate.arena_bytes:,}"
    yield f"| RAM | {ram} | {arena} |"
    program = estimate.flash_interval_bytes
    between = f"{program[0]:,} to {program[1]:,} bytes" if program else ""
    yield f"| flash | {estimate.flash_bytes:,} bytes of {board.flash.bytes:,} | {between} |"
    yield ""
    if cycle is not None:
        yield "; ".join(duty_cycle_sentences(cycle, estimate))
        yield ""
    yield "| layer | ms | share | mJ | kernel |"
    yield "|---|--:|--:|--:|---|"
    for layer in estimate.layers:
        yield _layer(estimate, layer)
    if estimate.warnings:
        yield ""
        yield from (f"- {_cell(warning)}" for warning in estimate.warnings)


def _layer(estimate: Estimate, layer: LayerEstimate) -> str:
    if not layer.is_priced:
        return f"| {layer.index} {layer.operator} | ? | ? | ? | {_cell(layer.kernel)} |"
    share = layer.cycles / (estimate.cycles or 1.0)
    return (
        f"| {layer.index} {layer.operator} | {milli(layer.latency_s, 3)} | {100 * share:.1f} % | "
        f"{milli(layer.energy_j, 3)} | {_cell(layer.kernel)} |"
    )


def _cell(text: str) -> str:
    """Text that Markdown takes as it is."""
    for sign in "\\`*_[]<>|":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
