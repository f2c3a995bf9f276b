"""What each runtime executes and keeps in memory."""

from mcusim.runtimes.plan import (
    BufferPlacement,
    FlashPart,
    LayerPlan,
    MemoryPlan,
    PersistentPart,
    Plan,
)
from mcusim.runtimes.tflm import RUNTIMES, canonical_runtime, plan

__all__ = [
    "RUNTIMES",
    "BufferPlacement",
    "FlashPart",
    "LayerPlan",
    "MemoryPlan",
    "PersistentPart",
    "Plan",
    "canonical_runtime",
    "plan",
]
