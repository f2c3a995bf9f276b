"""Two estimates of one model's revisions, layer beside layer."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from mcusim.errors import InputError
from mcusim.estimates import Estimate, LayerEstimate
from mcusim.report.numbers import milli

__all__ = ["Comparison", "LayerPair", "compare", "comparison_markdown"]


@dataclass(frozen=True)
class LayerPair:
    """A layer of both revisions, or of one.

    Attributes:
        before: in the first; None where it is new.
        after: in the second; None where it is gone.
    """

    before: LayerEstimate | None
    after: LayerEstimate | None

    @property
    def is_changed(self) -> bool:
        """Whether anything a reader sees of it differs."""
        if self.before is None or self.after is None:
            return True
        first, second = self.before, self.after
        return (
            first.inputs != second.inputs
            or first.outputs != second.outputs
            or first.kernel != second.kernel
            or round(first.cycles) != round(second.cycles)
        )


@dataclass(frozen=True)
class Comparison:
    """Two revisions of a model on one board.

    Attributes:
        before: the first.
        after: the second.
        layers: in the order of both.
    """

    before: Estimate
    after: Estimate
    layers: tuple[LayerPair, ...]

    @property
    def changed(self) -> tuple[LayerPair, ...]:
        """Layers that differ."""
        return tuple(pair for pair in self.layers if pair.is_changed)


def compare(before: Estimate, after: Estimate) -> Comparison:
    """Lay two estimates beside each other; layers are matched by operator and shapes, in order.

    Raises:
        InputError: they are of other boards, runtimes, builds or clocks.
    """
    settings = [
        (e.board.name, e.runtime, e.build, e.clock_hz, dict(e.placement)) for e in (before, after)
    ]
    if settings[0] != settings[1]:
        raise InputError("only estimates of one board, runtime, build, clock and placement compare")
    return Comparison(before, after, tuple(_pairs(before.layers, after.layers)))


def _pairs(
    before: tuple[LayerEstimate, ...], after: tuple[LayerEstimate, ...]
) -> Iterator[LayerPair]:
    matcher = difflib.SequenceMatcher(
        None, [_kind(x) for x in before], [_kind(x) for x in after], autojunk=False
    )
    for tag, first, last, start, stop in matcher.get_opcodes():
        old, new = before[first:last], after[start:stop]
        if tag == "replace" and [x.operator for x in old] == [x.operator for x in new]:
            tag = "equal"  # the same operators with other shapes
        if tag == "equal":
            yield from (LayerPair(a, b) for a, b in zip(old, new, strict=True))
        else:
            yield from (LayerPair(layer, None) for layer in old)
            yield from (LayerPair(None, layer) for layer in new)


def _kind(layer: LayerEstimate) -> tuple[object, ...]:
    return layer.operator, layer.inputs, layer.outputs


def comparison_markdown(found: Comparison) -> str:
    """Totals and the layers that changed, as a comment on a pull request."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Comparison) -> Iterator[str]:
    before, after = found.before, found.after
    yield f"### {after.model} on {after.board.name}"
    yield ""
    yield f"{after.clock_hz / 1e6:g} MHz, {after.runtime}, {after.build}"
    yield ""
    yield "| | before | after | change | 90 % interval after |"
    yield "|---|--:|--:|--:|--:|"
    low, high = (milli(bound) for bound in after.latency_interval_s)
    yield (
        f"| latency | {milli(before.latency_s)} ms | {milli(after.latency_s)} ms | "
        f"{_change(before.latency_s, after.latency_s)} | {low} to {high} ms |"
    )
    low, high = (milli(bound, 3) for bound in after.energy_interval_j)
    yield (
        f"| energy | {milli(before.energy_j, 3)} mJ | {milli(after.energy_j, 3)} mJ | "
        f"{_change(before.energy_j, after.energy_j)} | {low} to {high} mJ |"
    )
    yield _bytes("RAM", before.ram_bytes, after.ram_bytes, after.board.ram.bytes)
    yield _bytes("flash", before.flash_bytes, after.flash_bytes, after.board.flash.bytes)
    yield ""
    for when, model in (("before", before), ("after", after)):
        if missing := sum(not layer.is_priced for layer in model.layers):
            yield f"Nothing prices {missing} of the layers {when}: the totals are without them."
            yield ""
    changed = found.changed
    if not changed:
        yield "No layer differs."
        return
    yield f"{len(changed)} of {len(found.layers)} layers differ:"
    yield ""
    yield "| layer | before ms | after ms | change | shapes after |"
    yield "|---|--:|--:|--:|---|"
    yield from (_layer(pair) for pair in changed)


def _bytes(name: str, before: int | None, after: int | None, size: int) -> str:
    if before is None or after is None:
        return f"| {name} | unknown | unknown | | |"
    return f"| {name} | {before:,} | {after:,} | {after - before:+,} bytes | of {size:,} |"


def _layer(pair: LayerPair) -> str:
    layer = pair.after or pair.before
    assert layer is not None
    times = [
        "" if x is None else milli(x.latency_s, 3) if x.is_priced else "?"
        for x in (pair.before, pair.after)
    ]
    if pair.before is None:
        change = "new"
    elif pair.after is None:
        change = "gone"
    else:
        change = _change(pair.before.latency_s, pair.after.latency_s)
    shapes = " → ".join(
        "x".join(map(str, tensors[0].shape)) for tensors in (layer.inputs, layer.outputs) if tensors
    )
    return f"| {layer.index} {layer.operator} | {times[0]} | {times[1]} | {change} | {shapes} |"


def _change(before: float, after: float) -> str:
    return "" if not before else f"{100 * (after / before - 1):+.1f} %"
