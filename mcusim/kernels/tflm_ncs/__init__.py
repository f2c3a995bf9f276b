"""TFLite Micro of the nRF Connect SDK 1.4.0 (November 2020), with its reference kernels at -Os.

Zephyr leaves assertions on, and every access to an activation or a weight is a call of ``Offset``
that checks its indices. The kernels were counted in the firmware that Profentzas et al. 2021
published; it computes, bit for bit, what the reference kernels of 2026 compute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from mcusim.graph import DType, Node
from mcusim.kernels.contract import KernelCall
from mcusim.kernels.library import KernelLibrary, LibraryKernel, refuse
from mcusim.kernels.reference import KERNELS as REFERENCE_KERNELS

__all__ = ["LIBRARY", "NAME"]

NAME = "tflm@ncs1.4"

_REASON = "the reference kernel, with assertions on"


def _kernel(
    operator: str, turns: Callable[[Node, KernelCall], Mapping[str, float]]
) -> LibraryKernel:
    """An operator whose arithmetic is that of 2026, and whose loops ``turns`` counts."""
    reference = REFERENCE_KERNELS[operator]

    def check(node: Node) -> None:
        kinds = {t.dtype for t in (node.input(0), node.output())} - {DType.FLOAT32}
        refuse(kinds <= {DType.INT8}, "only int8 kernels were counted")
        refuse(bool(kinds), "its float32 kernels were not counted")
        reference.check(node)

    def calls(node: Node) -> Sequence[KernelCall]:
        call = reference.count(node)
        profile = f"{NAME}/{call.profile.rpartition('/')[2]}"
        trips = dict(turns(node, call))
        return (replace(call, profile=profile, trips=trips, reason=_REASON),)

    return LibraryKernel(check, reference.bind, calls)


def _convolution(node: Node, call: KernelCall) -> Mapping[str, float]:
    """The bounds of the image are tested for each product, not for each tap."""
    _, height, width, depth = node.input(1).shape
    outputs, inside = call.trips["output"], call.trips["product"]
    return {
        "call": 1,
        "output": outputs,
        "kernel_row": outputs * height,
        "kernel_tap": outputs * height * width,
        "product": inside,
        "product_outside": outputs * height * width * depth - inside,
    }


def _only(*levels: str) -> Callable[[Node, KernelCall], Mapping[str, float]]:
    return lambda node, call: {level: call.trips[level] for level in ("call", *levels)}


def _elements(node: Node, call: KernelCall) -> Mapping[str, float]:
    return {"call": 1, "element": node.output().elements}


def _same(node: Node, call: KernelCall) -> Mapping[str, float]:
    return call.trips


LIBRARY = KernelLibrary(
    NAME,
    {
        "CONV_2D": _kernel("CONV_2D", _convolution),
        "DEQUANTIZE": _kernel("DEQUANTIZE", _elements),
        "FULLY_CONNECTED": _kernel("FULLY_CONNECTED", _only("output", "product")),
        "MAX_POOL_2D": _kernel("MAX_POOL_2D", _same),
        "QUANTIZE": _kernel("QUANTIZE", _elements),
        "RESHAPE": _kernel("RESHAPE", _elements),
        "SOFTMAX": _kernel("SOFTMAX", _only("exponential")),
    },
)
