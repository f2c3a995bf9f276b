"""Whether two runtimes compute the same bits; where they do not, and which step makes it so."""

from mcusim.verify.comparison import Difference, Verification, random_inputs, verify
from mcusim.verify.ways import Way, ways

__all__ = ["Difference", "Verification", "Way", "random_inputs", "verify", "ways"]
