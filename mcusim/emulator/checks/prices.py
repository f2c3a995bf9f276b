"""What profiles say that a library's function executes."""

from __future__ import annotations

from collections.abc import Iterator

from mcusim.emulator.checks.contract import Case
from mcusim.graph import DType
from mcusim.kernels.closest import closest_profile
from mcusim.kernels.cmsis_nn.contract import Configuration
from mcusim.kernels.cmsis_nn.memory_calls import copies_call
from mcusim.kernels.contract import KernelCall

__all__ = ["predicted"]

#: Operators in whose calls the last memcpy is the glue's, which copies shapes.
_GLUE_COPIES = ("DEPTHWISE_CONV_2D", "TRANSPOSE", "TRANSPOSE_CONV")


def predicted(case: Case, function: str, core: str, build: str) -> float | None:
    """Instructions of a function for a case, with those of the functions that it calls.

    Args:
        case: the layer.
        function: which is called; wrappers around it are not counted.
        core: such as ``"m4"``.
        build: such as ``"gcc-O3"``.

    Returns:
        The number; None where the functions were not counted for that core and build.
    """
    if not case.runs(function):
        return None  # what nobody counted, or what is not of the library
    if any(tensor is not None and tensor.dtype is DType.INT4 for tensor in case.node.inputs):
        return None  # priced as int8, since nobody counted these
    total = 0.0
    for call in _library_calls(case):
        if "wrapper" in call.kernel and "wrapper" not in function:
            continue
        found = closest_profile(call.profile, core, build)
        if found is None or not found.is_exact or call.trips.keys() != set(found.build.levels):
            return None
        total += found.mix(call.trips).total
    return total


def _library_calls(case: Case) -> Iterator[KernelCall]:
    """Calls of a layer without the glue's."""
    # The glue's functions are C++, named with capitals.
    calls = [call for call in case.calls if call.kernel.islower()]
    name = case.node.name
    if name in _GLUE_COPIES and calls[-1].kernel == "memcpy":
        calls.pop()
    for call in calls:
        if name == "PAD" and call.kernel == "memcpy":
            rank = len(case.node.input(0).shape)
            glue = copies_call({(4 * rank, 0, 0): 1}, Configuration(), structures=1)
            trips = {level: n - glue.trips.get(level, 0) for level, n in call.trips.items()}
            yield KernelCall(call.kernel, call.profile, trips)
        else:
            yield call
