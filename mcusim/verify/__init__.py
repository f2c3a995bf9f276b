"""Whether two runtimes compute the same bits; where they do not, and which step makes it so."""

from mcusim.verify.comparison import random_inputs, verify
from mcusim.verify.findings import Difference, Verification
from mcusim.verify.recorded import verify_recorded
from mcusim.verify.snapshot import Change, Snapshot, read_snapshot, take_snapshot
from mcusim.verify.ways import Way, ways

__all__ = [
    "Change",
    "Difference",
    "Snapshot",
    "Verification",
    "Way",
    "random_inputs",
    "read_snapshot",
    "take_snapshot",
    "verify",
    "verify_recorded",
    "ways",
]
