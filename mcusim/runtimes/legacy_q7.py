"""``cmsis-nn@q7``: firmware that calls CMSIS-NN's legacy q7 functions, without an interpreter.

It prices a network as such firmware would run it. It computes nothing: its tensors are scaled by
powers of two, so that its outputs are not the int8 network's.
"""

from __future__ import annotations

from mcusim.errors import InputError
from mcusim.graph import Graph, Node
from mcusim.kernels.cmsis_nn.contract import SIMD_OF_CORE
from mcusim.kernels.cmsis_nn.legacy_q7 import firmware_layers
from mcusim.runtimes.plan import LayerPlan, Plan

__all__ = ["BUILDS", "RUNTIME", "plan"]

RUNTIME = "cmsis-nn@q7"

#: Builds beside the usual ones: the published firmware is compiled with ``-fno-builtin``, so that
#: every access to four bytes calls memcpy, in assembly or byte by byte.
BUILDS = ("gcc-O3-nobuiltin-armcpy", "gcc-O3-nobuiltin-bytecpy")


def plan(graph: Graph, core: str, single_rounding: bool) -> Plan:
    """What the firmware runs for each operator; a first layer of one channel is computed.

    Args:
        graph: a network of convolutions, pooling, dense layers and softmax on square images.
        core: with the DSP extension.
        single_rounding: there is no such build.

    Raises:
        InputError: the core has no DSP extension, or there is no such build.
        UnsupportedOperatorError: the library has no q7 function for an operator or its shape.
    """
    if single_rounding:
        raise InputError(f"runtime {RUNTIME!r} has no build that rounds once")
    if SIMD_OF_CORE.get(core.removesuffix("-soft")) != "dsp":
        raise InputError(
            f"runtime {RUNTIME!r} is known only for cores with DSP instructions (m4, m7, m33), "
            f"not for {core}"
        )
    calls = {layer.node: layer.calls for layer in firmware_layers(graph, "basic")}
    layers = tuple(
        LayerPlan(node, calls[node.index], _scratch_bytes(node))
        for node in graph.main.nodes
        if calls[node.index]
    )
    return Plan(graph, RUNTIME, layers, None, None, None, None)


def _scratch_bytes(node: Node) -> int:
    """Buffers of int16: two columns of a convolution, a vector, or the sums of a row of pixels."""
    if node.name == "CONV_2D":
        return 2 * 2 * (node.input(1).elements // node.input(1).shape[0])
    if node.name == "FULLY_CONNECTED":
        return 2 * node.input(1).shape[1]
    if node.name == "AVERAGE_POOL_2D":
        return 2 * node.output().shape[2] * node.output().shape[3]
    return 0
