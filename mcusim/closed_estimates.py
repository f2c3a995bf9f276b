"""Layers of a closed runtime: those of CMSIS-NN, times a measured factor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mcusim.boards import Cycles
from mcusim.estimates import LayerEstimate, PartEstimate
from mcusim.instruction_mix import InstructionMix
from mcusim.runtimes.closed import ClosedRuntime

__all__ = ["by_factor", "nothing_known"]


def by_factor(
    layer: LayerEstimate, closed: ClosedRuntime, factors: Mapping[str, float]
) -> LayerEstimate:
    """The layer as the closed runtime takes it; its kernel and instructions are not known.

    Args:
        layer: as the runtime takes it that the factors are over.
        closed: the closed runtime.
        factors: on this board, by family of operators.
    """
    factor = factors[layer.family]
    return replace(
        layer,
        kernel=f"{closed.name}, closed",
        reason=f"{factor:.2f} of {layer.kernel} in {' '.join(closed.compared_with)}",
        instructions=InstructionMix.zero(),
        cycles_by_cause=Cycles(layer.cycles_by_cause.total * factor, 0.0, 0.0),
        latency_s=layer.latency_s * factor,
        energy_j=layer.energy_j * factor,
        priced_by=f"calibration/closed_runtimes.json {closed.name}",
        is_exact=False,
        scratch_bytes=0,
        misaligned_accesses=0.0,
        warnings=(),
    )


def nothing_known() -> PartEstimate:
    """What a runtime takes beside its layers, where that is part of its factors."""
    return PartEstimate(
        kernel="",
        reason="",
        instructions=InstructionMix.zero(),
        cycles_by_cause=Cycles(0.0, 0.0, 0.0),
        latency_s=0.0,
        energy_j=0.0,
        priced_by="closed",
        is_exact=False,
        error=0.0,
    )
