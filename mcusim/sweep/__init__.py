"""Many estimates at once: models x boards x settings into one file that survives being killed."""

from mcusim.sweep.front import pareto
from mcusim.sweep.pricing import Candidate, Job, Point, Settings, priced
from mcusim.sweep.run import Outcome, sweep
from mcusim.sweep.space import Space
from mcusim.sweep.store import Limits, Row, Store

__all__ = [
    "Candidate",
    "Job",
    "Limits",
    "Outcome",
    "Point",
    "Row",
    "Settings",
    "Space",
    "Store",
    "pareto",
    "priced",
    "sweep",
]
