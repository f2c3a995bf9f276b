"""What the interpreter of the ``tflite-micro`` package says of its arena."""

from __future__ import annotations

import os
import re
import sys
import tempfile

from tflite_micro.python.tflite_micro import runtime

__all__ = ["recorded_arena"]


def recorded_arena(content: bytes) -> dict[str, int]:
    """Bytes of the arena's ``head`` and ``tail``, which the interpreter only prints."""
    interpreter = runtime.Interpreter.from_bytes(content, arena_size=1 << 24)
    sys.stderr.flush()
    with tempfile.TemporaryFile() as printed:
        saved = os.dup(2)
        try:
            os.dup2(printed.fileno(), 2)
            interpreter.print_allocations()
        finally:
            os.dup2(saved, 2)
            os.close(saved)
        printed.seek(0)
        found = re.findall(r"Arena allocation (head|tail) (\d+) bytes", printed.read().decode())
    return {part: int(size) for part, size in found}
