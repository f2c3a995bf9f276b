"""The CPU inside a board: what an instruction of each class costs when memory never waits."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    create_model,
    model_validator,
)

from mcusim.instruction_mix import CLASSES, FIELDS, InstructionMix

__all__ = ["Core", "Extra", "InstructionCycles", "Ratio", "Strict", "Uncalibrated"]

_ACCESSES = {
    "load_byte": 1,
    "load_half": 1,
    "load_word": 1,
    "load_double": 2,
    "float_load": 1,
    "store_byte": 1,
    "store_half": 1,
    "store_word": 1,
    "store_double": 2,
    "float_store": 1,
}

#: Simple instructions, which a core with two issue slots may execute beside another one.
_SIMPLE = ("alu", "if_then", "branch_conditional")
#: Where the vector instructions of Helium stand, which have no class of their own.
_VECTOR = (
    "multiply",
    "multiply_half",
    "simd_mac",
    "simd_other",
    "load_byte",
    "load_half",
    "load_word",
)
_SINGLE_LOADS = ("load_byte", "load_half", "load_word", "float_load")
#: Beats of a vector instruction: a quarter of its 128 bits each.
_BEATS = 4.0


class Strict(BaseModel):
    """A table of a file: immutable, and no key that is not known."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


#: Cycles of one instruction by class; one number for every name in :data:`CLASSES`.
InstructionCycles: Any = create_model(
    "InstructionCycles",
    __base__=Strict,
    **{name: (Annotated[float, Field(ge=0)], ...) for name in CLASSES},  # type: ignore[call-overload]
)


_Share = Annotated[float, Field(ge=0, le=1)]
_TAKEN = ("taken_conditional", "taken_unconditional")


class Extra(Strict):
    """What an instruction costs beside its class.

    Attributes:
        taken_branch_cycles: refill of the pipeline, for each branch, call or return taken.
        unconditional_branch_cycles: the same of calls, returns and branches without a condition,
            where a core predicts loops better than these; ``taken_branch_cycles`` when None.
        misaligned_access_cycles: each access of memory that a word takes beyond its first, where
            it begins at no multiple of four.
        load_register_cycles: each register of a load multiple.
        store_register_cycles: each register of a store multiple.
        instruction_bytes: mean size of an instruction, for what fetching it costs.
        paired_load_share: share of the single loads that follow another load or store and take a
            cycle less; none when None.
        dual_issue_share: share of the simple instructions that issue beside another one and take
            no cycle of their own; none when None.
        vector_share: share of multiplications, SIMD instructions and loads that are Helium's;
            none when None.
        vector_beats_per_cycle: of their four beats each; needed beside ``vector_share``.
    """

    taken_branch_cycles: Annotated[float, Field(ge=0)]
    misaligned_access_cycles: Annotated[float, Field(ge=0)]
    load_register_cycles: Annotated[float, Field(ge=0)]
    store_register_cycles: Annotated[float, Field(ge=0)]
    instruction_bytes: Annotated[float, Field(ge=2, le=4)]
    unconditional_branch_cycles: Annotated[float, Field(ge=0)] | None = None
    paired_load_share: _Share | None = None
    dual_issue_share: _Share | None = None
    vector_share: _Share | None = None
    vector_beats_per_cycle: Annotated[float, Field(ge=1, le=4)] | None = None

    @model_validator(mode="after")
    def _beats_of_vectors(self) -> Extra:
        if self.vector_share and self.vector_beats_per_cycle is None:
            raise ValueError("vector_beats_per_cycle is missing beside vector_share")
        return self


class Ratio(Strict):
    """Measured over predicted: the range that holds nine of ten measurements."""

    measured_over_predicted_low: Annotated[float, Field(gt=0, le=1)]
    measured_over_predicted_high: Annotated[float, Field(ge=1)]


class Uncalibrated(Ratio):
    """What boards of a core that was never measured are predicted by.

    Attributes:
        time_scale: factor on every cycle, from measured boards of this core or of others.
        runs: measured runs of boards with this core; 0 where the other cores' stand for it.
    """

    time_scale: PositiveFloat = 1.0
    runs: Annotated[int, Field(ge=0)] = 0


class Core(Strict):
    """A CPU core.

    Attributes:
        name: name of the file.
        profile: how kernel profiles call it.
        without_fpu: name of the core to price when the build does not use the FPU.
        cycles: of one instruction of each class, with zero-wait-state memory.
        extra: what comes beside the classes.
        uncalibrated: error of a board with this core while no measurement has been fitted.
        software_scale: factor on every cycle of a software, ``"<runtime> <build>"``: what its code
            is off by on boards of this core where it was measured.
        source: the manual, where a number does not name its own.
    """

    name: str
    profile: str
    without_fpu: str
    cycles: InstructionCycles
    extra: Extra
    uncalibrated: Uncalibrated
    software_scale: Mapping[str, PositiveFloat] = Field(default_factory=dict)
    source: str = ""

    @property
    def has_fpu(self) -> bool:
        """Whether there is a floating-point unit that a build may use."""
        return self.name != self.without_fpu

    @cached_property
    def weights(self) -> npt.NDArray[np.float64]:
        """Cycles of one count of each of :data:`FIELDS`, float64."""
        weight = dict.fromkeys(FIELDS, 0.0) | dict(self.cycles)
        extra = self.extra
        for name in _SIMPLE:
            weight[name] *= 1 - (extra.dual_issue_share or 0.0)
        for name in _VECTOR:
            beats = _BEATS / (extra.vector_beats_per_cycle or _BEATS)
            weight[name] *= 1 + (extra.vector_share or 0.0) * (beats - 1)
        for name in _SINGLE_LOADS:
            weight[name] = max(0.0, weight[name] - (extra.paired_load_share or 0.0))
        weight["taken_conditional"] = weight["taken_unconditional"] = extra.taken_branch_cycles
        if extra.unconditional_branch_cycles is not None:
            weight["taken_unconditional"] = extra.unconditional_branch_cycles
        weight["load_accesses"] = extra.load_register_cycles
        weight["store_accesses"] = extra.store_register_cycles
        # Accesses count every word moved; those of single and double transfers are already in the
        # cycles of their class, so that only the registers of multiples are left.
        for name, accesses in _ACCESSES.items():
            kind = "load_accesses" if "load" in name else "store_accesses"
            weight[name] -= accesses * weight[kind]
        return np.array([weight[name] for name in FIELDS])

    def refill_cycles_of(self, mix: InstructionMix) -> float:
        """Those of :meth:`cycles_of` in which the pipeline refills behind branches."""
        return sum(float(self.weights[FIELDS.index(name)]) * mix[name] for name in _TAKEN)

    def cycles_of(self, mix: InstructionMix) -> float:
        """Cycles that ``mix`` takes when no memory waits."""
        return float(self.weights @ mix.vector)
