"""What each runtime executes and keeps in memory."""

from mcusim.runtimes.plan import (
    BufferPlacement,
    FlashPart,
    LayerPlan,
    MemoryPlan,
    PersistentPart,
    Plan,
    RamPart,
)
from mcusim.runtimes.program_memory import flash, static_ram
from mcusim.runtimes.tflm import RUNTIMES, canonical_runtime, plan

__all__ = [
    "RUNTIMES",
    "BufferPlacement",
    "FlashPart",
    "LayerPlan",
    "MemoryPlan",
    "PersistentPart",
    "Plan",
    "RamPart",
    "canonical_runtime",
    "flash",
    "plan",
    "static_ram",
]
