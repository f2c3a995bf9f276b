"""An estimate as one HTML file: no script, nothing loaded from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mcusim.duty_cycle import DutyCycle
from mcusim.estimates import Estimate, LayerEstimate, PartEstimate, TensorSummary
from mcusim.graph import DType
from mcusim.report.duty import duty_cycle_sentences

__all__ = ["Suggestion", "html_fragment", "html_page"]

_PAGE, _FRAGMENT = "report.html.jinja", "fragment.html.jinja"
#: Size of a drawing, in its own units.
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 720.0, 330.0, 70.0, 12.0, 40.0
#: Colours of buffers; neighbours in memory differ, and each has a border and a title besides.
_COLOURS = 6


@dataclass(frozen=True)
class _Row:
    """A layer, or the interpreter; stalls as shares of the costliest row."""

    name: str
    shapes: str
    kernel: str
    macs: int
    part: PartEstimate
    share: float
    interval_s: tuple[float, float]
    interval_j: tuple[float, float]
    stalls: tuple[float, ...]


@dataclass(frozen=True)
class _WorkingSet:
    name: str
    parts: tuple[tuple[str, int], ...]
    fits: bool

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.parts)


@dataclass(frozen=True)
class _Rectangle:
    x: float
    y: float
    width: float
    height: float
    colour: int
    title: str


@dataclass(frozen=True)
class _Tick:
    at: float
    text: str


@dataclass(frozen=True)
class _Drawing:
    width: float
    height: float
    left: float
    bottom: float
    rectangles: tuple[_Rectangle, ...] = ()
    points: tuple[_Rectangle, ...] = ()
    x_ticks: tuple[_Tick, ...] = ()
    y_ticks: tuple[_Tick, ...] = ()


@dataclass(frozen=True)
class _Choice:
    """One of several boards."""

    estimate: Estimate
    on_front: bool
    is_subject: bool
    fits: bool


@dataclass(frozen=True)
class Suggestion:
    """A change that was tried.

    Attributes:
        what: what to do.
        estimate: what the model takes with it.
        remark: what it costs, or that outputs change; empty for neither.
    """

    what: str
    estimate: Estimate
    remark: str


def html_page(
    estimate: Estimate,
    others: Sequence[Estimate] = (),
    cycle: DutyCycle | None = None,
    suggestions: Sequence[Suggestion] = (),
) -> str:
    """Render an estimate.

    Args:
        estimate: what the page is about.
        others: the same model on other boards, to compare with.
        cycle: inferences at an interval, if that is asked for.
        suggestions: changes that buy something.

    Returns:
        The page, UTF-8 text.
    """
    choices = _choices(estimate, others)
    return _rendered(
        _PAGE,
        estimate=estimate,
        cycle=duty_cycle_sentences(cycle, estimate) if cycle else (),
        rows=_rows(estimate),
        causes=_causes(estimate),
        working_sets=list(_working_sets(estimate)),
        arena=_arena(estimate),
        choices=choices,
        front=_scatter(choices),
        suggestions=suggestions,
    )


def html_fragment(estimate: Estimate) -> str:
    """The totals and the layers, for a notebook."""
    return _rendered(_FRAGMENT, estimate=estimate, rows=_rows(estimate))


def _rendered(name: str, **values: object) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("mcusim.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"si": _si, "ms": _ms, "mj": _mj, "percent": _percent}
    return environment.get_template(name).render(values)


def _rows(estimate: Estimate) -> list[_Row]:
    total = estimate.cycles or 1.0
    parts = (*estimate.layers, estimate.invoke)
    longest = max((part.cycles for part in parts), default=0.0) or 1.0

    def row(
        name: str,
        shapes: str,
        macs: int,
        part: PartEstimate,
        interval_s: tuple[float, float],
        interval_j: tuple[float, float],
    ) -> _Row:
        return _Row(
            name,
            shapes,
            part.kernel,
            macs,
            part,
            part.cycles / total,
            interval_s,
            interval_j,
            tuple(cycles / longest for _, cycles in _stalls(part)),
        )

    rows = [
        row(
            f"{x.index} {x.operator}",
            _shapes(x),
            x.macs,
            x,
            x.latency_interval_s,
            x.energy_interval_j,
        )
        for x in estimate.layers
    ]
    part = estimate.invoke
    if part.is_priced:
        rows.append(
            row(
                "interpreter",
                "",
                0,
                part,
                _share(part.latency_s, estimate.latency_s, estimate.latency_interval_s),
                _share(part.energy_j, estimate.energy_j, estimate.energy_interval_j),
            )
        )
    return rows


def _share(of: float, whole: float, interval: tuple[float, float]) -> tuple[float, float]:
    return (of / whole * interval[0], of / whole * interval[1]) if whole else (0.0, 0.0)


def _stalls(part: PartEstimate) -> list[tuple[str, float]]:
    cycles = part.cycles_by_cause
    return [
        ("executing", cycles.core),
        ("waiting for code", cycles.fetch),
        ("waiting for constants", cycles.data),
        ("waiting for activations", cycles.working),
    ]


def _causes(estimate: Estimate) -> list[tuple[str, float]]:
    totals: dict[str, float] = {}
    for part in (*estimate.layers, estimate.invoke):
        for cause, cycles in _stalls(part):
            totals[cause] = totals.get(cause, 0.0) + cycles
    whole = sum(totals.values()) or 1.0
    return [(cause, cycles / whole) for cause, cycles in totals.items()]


def _shapes(layer: LayerEstimate) -> str:
    def text(tensors: Sequence[TensorSummary]) -> str:
        return "x".join(map(str, tensors[0].shape)) if tensors else ""

    return f"{text(layer.inputs)} → {text(layer.outputs)}"


def _working_sets(estimate: Estimate) -> Iterator[_WorkingSet]:
    room = estimate.board.ram.bytes
    for layer in estimate.layers:
        inputs = [_bytes(t) for t in layer.inputs]
        parts = (
            ("input", inputs[0] if inputs else 0),
            ("weights and further inputs", sum(inputs[1:])),
            ("output", sum(_bytes(t) for t in layer.outputs)),
            ("scratch", layer.scratch_bytes),
        )
        used = sum(size for _, size in parts)
        yield _WorkingSet(f"{layer.index} {layer.operator}", parts, used <= room)


def _bytes(tensor: TensorSummary) -> int:
    return DType(tensor.dtype).bytes_of(math.prod(tensor.shape))


def _arena(estimate: Estimate) -> _Drawing | None:
    """Buffers of the arena's head: operators across, bytes up."""
    memory = estimate.memory
    if memory is None or not memory.placements or not memory.head_bytes:
        return None
    first = min(max(b.first_operator, -1) for b in memory.placements)
    last = max(b.last_operator for b in memory.placements)
    step = (_WIDTH - _LEFT) / max(1, last - first + 1)
    scale = (_HEIGHT - _TOP - _BOTTOM) / memory.head_bytes
    rectangles = []
    for number, buffer in enumerate(memory.placements):
        begin = max(buffer.first_operator, first)
        lives = max(buffer.last_operator, begin) - begin + 1
        rectangles.append(
            _Rectangle(
                _LEFT + (begin - first) * step,
                _HEIGHT - _BOTTOM - (buffer.offset_bytes + buffer.size_bytes) * scale,
                lives * step,
                buffer.size_bytes * scale,
                number % _COLOURS,
                f"{buffer.name}: {buffer.size_bytes:,} bytes at {buffer.offset_bytes:,}, "
                f"operators {begin} to {begin + lives - 1}",
            )
        )
    every = max(1, round((last - first + 1) / 12))
    x_ticks = [
        _Tick(_LEFT + (i - first + 0.5) * step, "start" if i < 0 else str(i))
        for i in range(first, last + 1, every)
    ]
    y_ticks = [
        _Tick(_HEIGHT - _BOTTOM - share * memory.head_bytes * scale, _si(share * memory.head_bytes))
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    return _Drawing(
        _WIDTH, _HEIGHT, _LEFT, _BOTTOM, tuple(rectangles), (), tuple(x_ticks), tuple(y_ticks)
    )


def _choices(estimate: Estimate, others: Sequence[Estimate]) -> list[_Choice]:
    priced = [e for e in (estimate, *others) if e.latency_s and all(x.is_priced for x in e.layers)]

    def beaten(one: Estimate) -> bool:
        return any(
            (e.latency_s, e.energy_j) != (one.latency_s, one.energy_j)
            and e.latency_s <= one.latency_s
            and e.energy_j <= one.energy_j
            for e in priced
            if _fits(e)
        )

    return sorted(
        (_Choice(e, _fits(e) and not beaten(e), e is estimate, _fits(e)) for e in priced),
        key=lambda choice: choice.estimate.latency_s,
    )


def _fits(estimate: Estimate) -> bool:
    board = estimate.board
    return (
        estimate.ram_bytes or 0
    ) <= board.ram.bytes and estimate.flash_bytes <= board.flash.bytes


def _scatter(choices: Sequence[_Choice]) -> _Drawing | None:
    """Energy over latency, both logarithmic."""
    if len(choices) < 2:
        return None
    times = [math.log10(c.estimate.latency_s) for c in choices]
    energies = [math.log10(c.estimate.energy_j) for c in choices]
    x0, x1 = math.floor(min(times)), math.ceil(max(times))
    y0, y1 = math.floor(min(energies)), math.ceil(max(energies))
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)

    def x(value: float) -> float:
        return _LEFT + (value - x0) / (x1 - x0) * (_WIDTH - _LEFT - 10)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (value - y0) / (y1 - y0) * (_HEIGHT - _TOP - _BOTTOM)

    points = tuple(
        _Rectangle(
            x(time),
            y(energy),
            0,
            0,
            2 if c.is_subject else 1 if c.on_front else 0,
            f"{c.estimate.board.name}: {_ms(c.estimate.latency_s)} ms, "
            f"{_mj(c.estimate.energy_j)} mJ",
        )
        for c, time, energy in zip(choices, times, energies, strict=True)
    )
    return _Drawing(
        _WIDTH,
        _HEIGHT,
        _LEFT,
        _BOTTOM,
        (),
        points,
        tuple(_Tick(x(e), f"{_si(10.0**e)}s") for e in range(x0, x1 + 1)),
        tuple(_Tick(y(e), f"{_si(10.0**e)}J") for e in range(y0, y1 + 1)),
    )


def _si(value: float) -> str:
    """Three digits and a prefix, as 1.23 k."""
    if not value:
        return "0 "
    power = min(max(math.floor(math.log10(abs(value)) / 3), -4), 3)
    prefix = {-4: "p", -3: "n", -2: "µ", -1: "m", 0: "", 1: "k", 2: "M", 3: "G"}[power]
    return f"{value / 1000.0**power:.3g} {prefix}"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:,.3g}" if seconds < 1 else f"{1e3 * seconds:,.0f}"


def _mj(joules: float) -> str:
    return f"{1e3 * joules:,.3g}" if joules < 1 else f"{1e3 * joules:,.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
