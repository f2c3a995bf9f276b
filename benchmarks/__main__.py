"""``python -m benchmarks``: the timed ones, each in a process of its own."""

import subprocess
import sys

_TIMED = ("startup", "estimating", "inference", "executing", "sweeping")

sys.exit(
    max(
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
        for name in _TIMED
    )
)
