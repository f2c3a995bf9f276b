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
from mcusim.runtimes.program_memory import flash, flash_half_width, static_ram
from mcusim.runtimes.selection import (
    RUNTIMES,
    Runtime,
    canonical_runtime,
    known_runtimes,
    select,
)
from mcusim.runtimes.tflm import plan

__all__ = [
    "RUNTIMES",
    "BufferPlacement",
    "FlashPart",
    "LayerPlan",
    "MemoryPlan",
    "PersistentPart",
    "Plan",
    "RamPart",
    "Runtime",
    "canonical_runtime",
    "flash",
    "flash_half_width",
    "known_runtimes",
    "plan",
    "select",
    "static_ram",
]
