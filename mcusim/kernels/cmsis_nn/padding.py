"""PAD and PADV2 of int8 as CMSIS-NN computes them, and the glue in TFLM around them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from mcusim.graph import Array, DType, Node
from mcusim.kernels.cmsis_nn.buffers import Simd
from mcusim.kernels.cmsis_nn.column_trips import fill_trips
from mcusim.kernels.cmsis_nn.contract import (
    CaseCalls,
    Configuration,
    LibraryCase,
    LibraryKernel,
    profile_name,
)
from mcusim.kernels.cmsis_nn.memory_calls import copies_call
from mcusim.kernels.contract import BoundKernel, KernelCall
from mcusim.kernels.reference import KERNELS as REFERENCE
from mcusim.kernels.reference.checks import int32_vector, refuse

__all__ = ["CASES", "KERNELS", "Padding", "pad_mirror", "pad_trips"]

Four: TypeAlias = tuple[int, int, int, int]

_MVE_BYTES = 16


@dataclass(frozen=True)
class Padding:
    """Four dimensions and what is put around them.

    Attributes:
        inputs: batches, rows, columns and channels of the input.
        before: elements in front of each.
        after: elements behind each.
    """

    inputs: Four
    before: Four
    after: Four

    @classmethod
    def of(cls, node: Node) -> Padding:
        """Dimensions of a node: the last four, with ones in front of fewer."""
        shape = node.input(0).shape
        given = node.input(1).data
        edges = [0] * (2 * len(shape)) if given is None else int32_vector(given)
        return cls(_four(shape, 1), _four(edges[::2], 0), _four(edges[1::2], 0))

    @property
    def outputs(self) -> Four:
        """Dimensions of the output."""
        n, h, w, c = (
            b + i + a for b, i, a in zip(self.before, self.inputs, self.after, strict=True)
        )
        return n, h, w, c

    @property
    def keeps_channels(self) -> bool:
        """Whether whole rows are copied: no channel is put in."""
        return self.inputs[3] == self.outputs[3]


def _four(values: tuple[int, ...] | list[int], missing: int) -> Four:
    n, h, w, c = [missing] * (4 - len(values)) + list(values[-4:])
    return n, h, w, c


def _segments(
    padding: Padding,
) -> tuple[Counter[tuple[int, int]], Counter[tuple[int, int, int]]]:
    """Bytes filled and copied: lengths, and addresses modulo four, with how often they occur."""
    n, h, w, c = padding.inputs
    _, out_h, out_w, out_c = padding.outputs
    row, plane = out_w * out_c, out_h * out_w * out_c
    fills: Counter[tuple[int, int]] = Counter()
    copies: Counter[tuple[int, int, int]] = Counter()
    fills[plane * padding.before[0], 0] += 1
    start = plane * padding.before[0]
    for batch in range(n):
        at = start + batch * plane
        fills[row * padding.before[1], at % 4] += 1
        inner = at + row * padding.before[1]
        for y in range(h):
            begin = inner + y * row
            fills[out_c * padding.before[2], begin % 4] += 1
            begin += out_c * padding.before[2]
            source = (batch * h + y) * w * c
            if padding.keeps_channels:
                copies[w * c, source % 4, begin % 4] += 1
                begin += w * c
            else:
                _pixel_segments(padding, source, begin, fills, copies)
                begin += w * out_c
            fills[out_c * padding.after[2], begin % 4] += 1
        fills[row * padding.after[1], (inner + h * row) % 4] += 1
    fills[plane * padding.after[0], (start + n * plane) % 4] += 1
    return fills, copies


def _pixel_segments(
    padding: Padding,
    source: int,
    target: int,
    fills: Counter[tuple[int, int]],
    copies: Counter[tuple[int, int, int]],
) -> None:
    """Those of one row of pixels, whose addresses modulo four repeat after four pixels."""
    channels, out_channels = padding.inputs[3], padding.outputs[3]
    before, after = padding.before[3], padding.after[3]
    rounds, left = divmod(padding.inputs[2], 4)
    for x in range(4):
        times = rounds + (x < left)
        if times:
            at = target + x * out_channels
            fills[before, at % 4] += times
            copies[channels, (source + x * channels) % 4, (at + before) % 4] += times
            fills[after, (at + before + channels) % 4] += times


def pad_trips(padding: Padding, simd: Simd) -> dict[str, float]:
    """Turns of ``arm_pad_s8``: it fills and copies what is contiguous.

    What memcpy and memset do is in the levels ``copy.…`` of a profile of its own and ``fill.…``
    of this one; with MVE they are loops of 16 bytes in place.
    """
    n, h, w, _ = padding.inputs
    pixels = 0 if padding.keeps_channels else n * h * w
    trips: dict[str, float] = {
        "call": 1,
        "batch": n,
        "row": n * h,
        "row.copied": n * h if padding.keeps_channels else 0,
        "pixel": pixels,
    }
    fills, copies = _segments(padding)
    if simd != "mve":
        return trips | fill_trips(fills)
    return trips | {
        "fill.block": sum(-(-length // _MVE_BYTES) * k for (length, _), k in fills.items()),
        "copy.block": sum(-(-length // _MVE_BYTES) * k for (length, *_), k in copies.items()),
    }


def pad_mirror(padding: Padding, x: Array, value: int) -> tuple[Array, dict[str, float]]:
    """``arm_pad_s8`` as the library loops, without SIMD.

    Args:
        padding: the dimensions.
        x: int8, shape of the input.
        value: what is put around it.

    Returns:
        The output and the turns of its loops.
    """
    n, h, w, c = padding.inputs
    _, out_h, out_w, out_c = padding.outputs
    source, out = x.ravel(), np.zeros(int(np.prod(padding.outputs)), np.int8)
    turns: Counter[str] = Counter(call=1)
    fills: Counter[tuple[int, int]] = Counter()
    target = read = 0

    def fill(length: int) -> None:
        nonlocal target
        fills[length, target % 4] += 1
        out[target : target + length] = value
        target += length

    def copy(length: int) -> None:
        nonlocal target, read
        out[target : target + length] = source[read : read + length]
        target, read = target + length, read + length

    fill(out_h * out_w * out_c * padding.before[0])
    for _ in range(n):
        turns["batch"] += 1
        fill(out_w * out_c * padding.before[1])
        for _ in range(h):
            turns["row"] += 1
            fill(out_c * padding.before[2])
            if padding.keeps_channels:
                turns["row.copied"] += 1
                copy(w * c)
            else:
                for _ in range(w):
                    turns["pixel"] += 1
                    fill(padding.before[3])
                    copy(c)
                    fill(padding.after[3])
            fill(out_c * padding.after[2])
        fill(out_w * out_c * padding.after[1])
    fill(out_h * out_w * out_c * padding.after[0])
    counted = {name: float(turns[name]) for name in ("call", "batch", "row", "row.copied", "pixel")}
    return out.reshape(padding.outputs), counted | fill_trips(fills)


def _reshape_case(case: LibraryCase, configuration: Configuration) -> tuple[KernelCall, ...]:
    """``arm_reshape_s8`` is one memcpy, which TFLM does without it."""
    size = case.params["n"]
    call = KernelCall(
        "arm_reshape_s8",
        profile_name("arm_reshape_s8", configuration),
        {"call": 1, "block": -(-size // _MVE_BYTES)}
        if configuration.simd == "mve"
        else {"call": 1},
    )
    if configuration.simd == "mve":
        return (call,)
    return (call, copies_call({(size, 0, 0): 1}, configuration))


CASES: dict[str, CaseCalls] = {"reshape_s8": _reshape_case}


def _accepts(node: Node, configuration: Configuration) -> bool:
    return configuration.generation == "2026" and node.input(0).dtype is DType.INT8


def _loses_a_dimension(node: Node) -> bool:
    """Whether the glue, which takes the last four dimensions, leaves something of a fifth out."""
    shape = node.input(0).shape
    given = node.input(1).data
    edges = [] if given is None else int32_vector(given)
    return len(shape) > 4 and (shape[0] != 1 or any(edges[:2]))


def _bind(node: Node, configuration: Configuration) -> BoundKernel:
    bound = REFERENCE[node.name].bind(node)
    given = node.input(1).data
    if given is not None and min(int32_vector(given), default=0) < 0:
        refuse(
            node, "a padding is negative: arm_pad_s8 takes it for a length and overwrites memory"
        )
    if _loses_a_dimension(node):
        refuse(
            node,
            "it pads five dimensions: the glue of CMSIS-NN takes four and leaves the rest of the "
            "output as it was",
        )
    return bound


def _calls(node: Node, configuration: Configuration) -> tuple[KernelCall, ...]:
    padding = Padding.of(node)
    rank = len(node.input(0).shape)
    warnings: tuple[str, ...] = ()
    if _loses_a_dimension(node):
        warnings = ("the glue of CMSIS-NN takes four of the five dimensions: wrong outputs",)
    what = "rows" if padding.keeps_channels else "pixels, as channels are padded"
    call = KernelCall(
        "arm_pad_s8",
        profile_name("arm_pad_s8", configuration),
        pad_trips(padding, configuration.simd),
        reason=f"int8, copied by {what}: `arm_pad_s8`",
        warnings=warnings,
    )
    copies = Counter({(4 * rank, 0, 0): 1})
    if configuration.simd != "mve":
        copies += _segments(padding)[1]
    glue = KernelCall(
        "PadEval",
        profile_name("glue_pad", configuration),
        {"call": 1, "given_value": len(node.inputs) > 2, "dimension": rank},
    )
    return call, copies_call(copies, configuration, structures=1), glue


KERNELS: tuple[LibraryKernel, ...] = (
    LibraryKernel("PAD", _accepts, _bind, _calls),
    LibraryKernel("PADV2", _accepts, _bind, _calls),
)
