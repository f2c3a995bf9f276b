"""What a layer asks of memory, from its shapes and from the loops of its kernels."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mcusim.boards import (
    CodeTraffic,
    ConstantStream,
    MemoryPath,
    MemoryTraffic,
    WorkingTraffic,
)
from mcusim.graph import Node, Tensor
from mcusim.instruction_mix import CLASSES, FIELDS, InstructionMix
from mcusim.kernels.closest import PricedBuild
from mcusim.kernels.contract import KernelCall
from mcusim.kernels.profile import ProfileBuild

__all__ = ["Kept", "code_traffic", "kept", "layer_traffic"]

_Floats = npt.NDArray[np.float64]

_ISSUED = np.array([float(name in CLASSES) for name in FIELDS])
_TAKEN = np.array([float(name.startswith("taken_")) for name in FIELDS])
_CALL = FIELDS.index("call")
#: Functions that a compiler calls for what the core cannot do: RTABI (Arm IHI 0043) has 11 of
#: single precision, tables 4 and 5, and kernels divide. What calls more comes back to the same.
_HELPERS = 12
#: What pushes, pops and spills move lies on the stack.
_STACK = ("load_multiple", "store_multiple", "float_load_multiple", "float_store_multiple")


def code_traffic(
    priced: Sequence[tuple[KernelCall, PricedBuild]], instruction_bytes: float
) -> CodeTraffic | None:
    """Loops of the kernels that run for one layer.

    One turn of a loop is about as long as its code, but for a turn that calls more functions than
    compilers have helpers for, as soft float does. A loop that turns more often is taken to lie
    within those of its function that turn less often, and within those of other functions that
    turn no more often than its own is called. Turns that are spared, which are negative, are no
    loops.

    Args:
        priced: kernels, and what prices each.
        instruction_bytes: mean size of an instruction.

    Returns:
        The loops; None without kernels.
    """
    if not priced:
        return None
    turns: list[float] = []
    calls: list[float] = []
    function: list[int] = []
    running: list[tuple[ProfileBuild, tuple[int, ...]]] = []
    for call, build in priced:
        positions: list[int] = []
        trips = call.trips
        for position, level in enumerate(build.build.levels):
            name, times = build.levels.get(level, (level, 1.0))
            if (count := trips.get(name, 0.0)) > 0:
                turns.append(times * count)
                positions.append(position)
        own = turns[len(calls) :]
        calls += [trips.get("call") or min(own, default=0.0)] * len(own)
        function += [len(running)] * len(own)
        running.append((build.build, tuple(positions)))
    if not turns:
        return None
    size, taken = _turns(tuple(running))
    loops = np.array(turns, np.float64), np.array(calls, np.float64), np.array(function, np.intp)

    def nested(bytes_per_turn: _Floats, branches: _Floats) -> CodeTraffic:
        return CodeTraffic.nested(loops[0], bytes_per_turn, branches, *loops[1:])

    code = nested(size * instruction_bytes, taken)
    once = _once(tuple(running))
    if once.min() < 1:
        held = nested(once * size * instruction_bytes, once * taken)
        code = replace(
            code, footprint_bytes=held.footprint_bytes, footprint_branches=held.footprint_branches
        )
    return code


@dataclass(frozen=True)
class Kept:
    """What a layer finds in the cache, from layers before it and from the inference before.

    Attributes:
        code: all of its code.
        constants: all of its constants.
    """

    code: bool = False
    constants: bool = False


def kept(
    layers: Sequence[tuple[Sequence[tuple[KernelCall, PricedBuild]], Node | None]],
    instruction_bytes: float,
    code: MemoryPath,
    constants: MemoryPath,
) -> list[Kept]:
    """What layers find in the cache while inferences follow each other.

    What was used last stays. Code and constants are taken to share one cache, as some do, unless
    there is none for constants.

    Args:
        layers: what an inference runs, in order: kernels with what prices each, and the operator.
        instruction_bytes: mean size of an instruction.
        code: the memory of code.
        constants: that of constants.

    Returns:
        One a layer.
    """
    if not (code.icache_bytes and code.wait_cycles):
        return [Kept()] * len(layers)
    used: list[tuple[dict[Hashable, float], dict[Hashable, float]]] = []
    for priced, node in layers:
        kernels: dict[Hashable, float] = {}
        for call, build in priced:
            size = _code_bytes(call, build, instruction_bytes, code.icache_line_bytes)
            function = build.profile, build.key
            kernels[function] = max(size, kernels.get(function, 0.0))
        inputs = node.inputs if node and constants.dcache_bytes else ()
        tensors = (t for t in inputs if t is not None and t.is_constant)
        used.append((kernels, {id(t): float(t.bytes) for t in tensors}))
    used_last: dict[Hashable, float] = {}
    found: list[Kept] = []
    for again in (False, True):
        for kernels, tensors_ in used:
            if again:
                stays = _stays(kernels, used_last, code.icache_bytes)
                shared = min(code.icache_bytes, constants.dcache_bytes)
                both = shared > 0 and stays and _stays(tensors_, used_last, shared)
                found.append(Kept(stays, both))
            for key, size in (*kernels.items(), *tensors_.items()):
                used_last.pop(key, None)
                used_last[key] = size
    return found


def _stays(
    sought: Mapping[Hashable, float], used_last: Mapping[Hashable, float], cache_bytes: float
) -> bool:
    """Whether no more than the cache holds was used since the oldest of some was, itself too."""
    missing = set(sought)
    since = 0.0
    for key in reversed(used_last):
        if not missing:
            break
        since += used_last[key]
        if since > cache_bytes:
            break
        missing.discard(key)
    return not missing


def _code_bytes(
    call: KernelCall, priced: PricedBuild, instruction_bytes: float, line_bytes: float
) -> float:
    """How much of a cache the code of a kernel takes, with all loops that run."""
    positions = tuple(
        position
        for position, level in enumerate(priced.build.levels)
        if call.trips.get(priced.levels.get(level, (level, 1.0))[0], 0.0) > 0
    )
    return _held(priced.build, positions, instruction_bytes, line_bytes) if positions else 0.0


@lru_cache(maxsize=4096)
def _held(
    build: ProfileBuild, positions: tuple[int, ...], instruction_bytes: float, line_bytes: float
) -> float:
    size, taken = _turns(((build, positions),))
    # A branch leaves a line anywhere and enters another one anywhere: half a line is not used.
    unused = np.maximum(taken, 0.0) * line_bytes / 2
    return float((_once(((build, positions),)) * (size * instruction_bytes + unused)).sum())


@lru_cache(maxsize=4096)
def _once(running: tuple[tuple[ProfileBuild, tuple[int, ...]], ...]) -> _Floats:
    """Share of what a turn of each loop executes that is code of its own, not run twice in it."""
    shares: list[_Floats] = []
    for build, positions in running:
        turns = np.maximum(build.per_turn[list(positions)], 0.0)
        share = np.minimum(1.0, _HELPERS / np.maximum(turns[:, _CALL], 1.0))
        if share.min(initial=1.0) < 1:
            # The code of such turns is that of the functions, the same for all of them.
            code = np.where(share < 1, share * (turns @ _ISSUED), -1.0)
            share[(share < 1) & (np.arange(len(share)) != code.argmax())] = 0.0
        shares.append(share)
    return np.concatenate(shares)


@lru_cache(maxsize=4096)
def _turns(
    running: tuple[tuple[ProfileBuild, tuple[int, ...]], ...],
) -> tuple[_Floats, _Floats]:
    """Instructions issued and branches taken by a turn of each loop, of builds and their levels."""
    rows = np.concatenate([build.per_turn[list(positions)] for build, positions in running])
    # A fitted turn can be a little below zero where two levels share their instructions.
    return np.maximum(rows @ _ISSUED, 0.0), rows @ _TAKEN


def layer_traffic(
    node: Node,
    calls: Sequence[KernelCall],
    mix: InstructionMix,
    code: CodeTraffic | None,
) -> MemoryTraffic:
    """Code, constants and activations of a layer.

    Args:
        node: the operator with its tensors.
        calls: the kernels it runs.
        mix: what they execute.
        code: their loops.
    """
    constants = tuple(_streams(node, calls, mix))
    accesses = mix["load_accesses"] + mix["store_accesses"]
    on_stack = min(2.0 * sum(mix[name] for name in _STACK), accesses)
    of_constants = sum(stream.bytes_read / stream.access_bytes for stream in constants)
    moved = max(0.0, accesses - on_stack - of_constants)
    touched = sum(t.bytes for t in (*_variable(node.inputs), *_variable(node.outputs)))
    width = (mix.loaded_bytes + mix.stored_bytes) / accesses if accesses else 4.0
    return MemoryTraffic(
        code,
        constants,
        WorkingTraffic(moved, float(touched), width),
        WorkingTraffic(on_stack, min(4.0 * on_stack, 512.0)),
    )


def _variable(tensors: Iterable[Tensor | None]) -> Iterator[Tensor]:
    return (t for t in tensors if t is not None and not t.is_constant)


def _streams(
    node: Node, calls: Sequence[KernelCall], mix: InstructionMix
) -> Iterator[ConstantStream]:
    """How the kernels of a layer read its constants."""
    constants = [t for t in node.inputs if t is not None and t.is_constant]
    held = float(sum(t.bytes for t in constants))
    if not held:
        return
    macs = sum(call.macs for call in calls)
    weights = max(constants, key=lambda t: t.elements)
    weight_bytes = weights.dtype.bits / 8
    library = any(call.kernel.startswith("arm_") for call in calls)
    # The reference kernels load a weight for every product, CMSIS-NN's convolutions for two pixels.
    pixels = 2 if library and node.name == "CONV_2D" else 1
    read = max(held, macs * weight_bytes / pixels) if weights.elements > 1 else held
    if any(call.stored_bytes for call in calls):
        held = float(sum(call.stored_bytes for call in calls))
        read = float(sum(call.read_bytes for call in calls))
    # A product reads a constant and an activation, so constants are at most half of what is loaded.
    read = min(read, mix.loaded_bytes / 2)
    # Kernels with SIMD load words, the others element by element.
    loads = mix["load_accesses"]
    access = max(weight_bytes, min(4.0, mix.loaded_bytes / loads) if loads else 0.0)
    rows = 2 if library else 1
    if node.name == "DEPTHWISE_CONV_2D":
        # Channels lie side by side, so that the taps of a channel are as many places apart.
        rows = weights.elements // weights.shape[-1] if weights.shape else 1
    elif library and node.name == "FULLY_CONNECTED":
        rows = 4
    window = held
    if any(call.kernel.startswith("arm_nn_mat_mult_nt_t") for call in calls):
        # All pixels with the weights of two output channels, then with those of the next two.
        window = 2 * held / max(1, weights.shape[0])
    yield ConstantStream(read, held, access, rows, window)
