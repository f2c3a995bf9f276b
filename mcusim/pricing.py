"""Prices what a runtime executes on a board: instructions, cycles, time and energy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mcusim.boards import (
    Board,
    CodeTraffic,
    Cycles,
    MemoryTraffic,
    external_energy_j,
    half_width,
    price,
    widened,
)
from mcusim.boards.bounds import Range
from mcusim.estimates import LayerEstimate, PartEstimate, TensorSummary
from mcusim.graph import Node, Tensor
from mcusim.instruction_mix import InstructionMix
from mcusim.kernels.closest import PricedBuild, closest_profile
from mcusim.kernels.contract import KernelCall
from mcusim.layer_traffic import Kept, code_traffic, kept, layer_traffic
from mcusim.runtimes import LayerPlan, Plan

__all__ = ["Pricing", "with_intervals"]

_NOTHING = Kept()


@dataclass(frozen=True)
class Pricing:
    """Prices kernel calls with one board, clock, build and placement.

    Attributes:
        board: where they run.
        clock_hz: clock of the core.
        build: compiler and flag.
        places: memory of what may be placed.
        active_w: power while computing.
        time_scale: factor on every cycle, of the software.
    """

    board: Board
    clock_hz: float
    build: str
    places: Mapping[str, str]
    active_w: float
    time_scale: float = 1.0

    def repeated(self, plan: Plan) -> list[Kept]:
        """What Invoke, then each layer, find in the cache while inferences follow each other."""
        invoke = () if plan.invoke is None else (plan.invoke,)
        return kept(
            [
                (self._priced(calls), node)
                for calls, node in (
                    (invoke, None),
                    *((layer.calls, layer.node) for layer in plan.layers),
                )
            ],
            self.board.core.extra.instruction_bytes,
            self.board.path(self.places["code"], self.clock_hz),
            self.board.path(self.places["weights"], self.clock_hz),
        )

    def layer(self, layer: LayerPlan, found: Kept = _NOTHING) -> LayerEstimate:
        """What a layer takes; its interval is the network's, which is not known yet."""
        node = layer.node
        macs = sum(call.macs for call in layer.calls)
        misaligned = layer.misaligned.further_accesses
        part = self.part(layer.calls, node, misaligned, found)
        return LayerEstimate(
            **vars(part),
            index=node.index,
            operator=node.name,
            inputs=tuple(_summary(t) for t in node.inputs if t is not None),
            outputs=tuple(_summary(t) for t in node.outputs),
            macs=macs,
            scratch_bytes=layer.scratch_bytes,
            misaligned_accesses=misaligned,
        )

    def part(
        self,
        calls: Sequence[KernelCall],
        node: Node | None = None,
        misaligned_accesses: float = 0.0,
        found: Kept = _NOTHING,
    ) -> PartEstimate:
        """What some calls take together, those of a layer or of the interpreter.

        Args:
            calls: kernels.
            node: the operator, if it is a layer's.
            misaligned_accesses: accesses that words at odd addresses take beyond their first.
            found: what they find in the cache.
        """
        builds = [self._build_of(call) for call in calls]
        priced = [(call, b) for call, b in zip(calls, builds, strict=True) if b is not None]
        if len(priced) < len(calls):
            priced = []  # a part of a layer's time would pass for the whole of it
        mixes = [b.mix(call.trips) for call, b in priced]
        mix = sum(mixes[1:], mixes[0]) if mixes else InstructionMix.zero()
        total = mix.total
        error = sum(abs(m.total) * b.error for m, (_, b) in zip(mixes, priced, strict=True))
        code = code_traffic(priced, self.board.core.extra.instruction_bytes)
        if found.code:
            code = CodeTraffic.tight(mix, self.board.core.extra.instruction_bytes)
        traffic = layer_traffic(node, calls, mix, code) if node else MemoryTraffic(code)
        if found.constants:
            traffic = replace(traffic, constants=())
        cycles = price(
            self.board,
            self.clock_hz,
            mix,
            traffic,
            placement=self.places,
            misaligned_accesses=misaligned_accesses,
        )
        cycles = Cycles(**{cause: self.time_scale * each for cause, each in vars(cycles).items()})
        latency_s = cycles.total / self.clock_hz
        energy_j = latency_s * self.active_w
        energy_j += external_energy_j(self.board, traffic, self.places)
        return PartEstimate(
            # A reason stands with the function that was chosen; the others are what it calls.
            kernel=_joined(c.kernel for c in calls if c.reason) or _joined(c.kernel for c in calls),
            reason=_joined(call.reason for call in calls),
            instructions=mix,
            cycles_by_cause=cycles,
            latency_s=latency_s,
            energy_j=energy_j,
            priced_by=_joined(f"{b.profile} {b.key}" for _, b in priced),
            is_exact=bool(priced) and all(b.is_exact for _, b in priced),
            error=error / total if total else 0.0,
            warnings=tuple(dict.fromkeys(_call_warnings(calls, builds))),
        )

    def _priced(self, calls: Iterable[KernelCall]) -> list[tuple[KernelCall, PricedBuild]]:
        builds = ((call, self._build_of(call)) for call in calls)
        return [(call, build) for call, build in builds if build is not None]

    def _build_of(self, call: KernelCall) -> PricedBuild | None:
        """What prices a call; None where nothing counted has its loops."""
        found = closest_profile(call.profile, self.board.core.profile, self.build)
        return found if found and found.has_loops_of(call.trips) else None


def _call_warnings(
    calls: Sequence[KernelCall], builds: Sequence[PricedBuild | None]
) -> Iterable[str]:
    for call, build in zip(calls, builds, strict=True):
        yield from call.warnings
        if build is None:
            yield f"{call.kernel} has no profile: its time is missing from the totals"
            continue
        if not build.is_exact:
            yield f"{build.reason} (±{100 * build.distance:.0f} %)"
        elif unpriced := build.build.unpriced(call.trips):
            yield f"{call.kernel}: cost of {', '.join(unpriced)} is unknown and left out"


def _summary(tensor: Tensor) -> TensorSummary:
    return TensorSummary(tensor.shape, tensor.dtype.value)


def _joined(words: Iterable[str]) -> str:
    return " + ".join(dict.fromkeys(word for word in words if word))


def with_intervals(
    layers: Iterable[LayerEstimate], time: Range, energy: Range
) -> tuple[LayerEstimate, ...]:
    """Layers with their 90 % intervals: their network's, and what a layer differs by beside it.

    Args:
        layers: each with its time and energy.
        time: bounds of the network's time, as factors.
        energy: the same of its energy.
    """
    apart = half_width("layer", "in network")
    times, energies = widened(time, apart), widened(energy, apart)
    return tuple(
        replace(
            layer,
            latency_interval_s=(times[0] * layer.latency_s, times[1] * layer.latency_s),
            energy_interval_j=(energies[0] * layer.energy_j, energies[1] * layer.energy_j),
        )
        for layer in layers
    )
