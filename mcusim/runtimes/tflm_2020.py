"""TFLite Micro of TensorFlow 2.2.0 (May 2020), where it is not the one of today.

Its reference kernels are counted for the operators of the published networks; the others are priced
as those of 2026. Its int8 kernels around CMSIS-NN call that of February 2020, with one static
scratch array.
"""

from __future__ import annotations

from dataclasses import replace

from mcusim.errors import UnsupportedOperatorError
from mcusim.graph import DType, Graph, Node
from mcusim.kernels.contract import KernelCall, Trips

__all__ = [
    "SCRATCH_ARRAY_BYTES",
    "allocate_call",
    "check",
    "construct_call",
    "invoke_call",
    "reference_call",
    "with_scratch_warning",
]

#: The static array that CMSIS-NN's buffers are cut from; a layer that needs more fails.
SCRATCH_ARRAY_BYTES = 13_000

_FOLDER = "tflm@2020"


def check(node: Node) -> None:
    """Raise UnsupportedOperatorError for what the kernels of 2020 are known to refuse."""
    types = {t.dtype for t in (*node.inputs, *node.outputs) if t is not None}
    if node.name == "MAX_POOL_2D" and DType.INT8 in types:
        raise UnsupportedOperatorError(
            f"operator {node.index} (MAX_POOL_2D): TFLite Micro of TensorFlow 2.2.0 has no int8 "
            "maximum, only float32 and uint8"
        )
    if DType.INT16 in types:
        raise UnsupportedOperatorError(
            f"operator {node.index} ({node.name}): TFLite Micro of TensorFlow 2.2.0 has no kernels "
            "for int16 activations"
        )


def reference_call(node: Node, newest: KernelCall) -> KernelCall:
    """A reference kernel of 2020.

    Args:
        node: the operator.
        newest: the same kernel of 2026, whose loops it has unless they were seen to differ.
    """
    _, _, name = newest.profile.partition("/")
    if node.name == "ADD" and node.input(0).shape != node.input(1).shape:
        return newest  # Broadcasting was not counted.
    trips = _own_trips(node, newest)
    return replace(newest, profile=f"{_FOLDER}/{name}", trips=trips or newest.trips)


def _own_trips(node: Node, newest: KernelCall) -> Trips | None:
    """Turns of the loops where they are not those of 2026."""
    elements = float(node.output().elements)
    is_int8 = DType.INT8 in (node.input(0).dtype, node.output().dtype)
    if node.name == "CONV_2D":
        return _convolution_trips(node, newest.trips)
    if node.name == "RESHAPE":
        return {"call": 1.0, "byte": float(node.output().bytes)}
    if node.name == "ADD":
        return {"call": 1.0, "dimension": float(len(node.output().shape)), "element": elements}
    if node.name == "FULLY_CONNECTED" and is_int8:
        # One scale for all channels: those of 2026 that have a scale each run the same loop.
        levels = ("call", "next_batch", "output", "bias", "product")
        trips = {level: newest.trips[level] for level in levels}
        trips["product"] += newest.trips["channel_product"]
        return trips
    if node.name == "QUANTIZE" and is_int8 and node.input(0).dtype is DType.FLOAT32:
        return {"call": 1.0, "element": elements}
    if node.name == "DEQUANTIZE" and is_int8:
        # Both counted rows have ten elements, so that the call's own share is in the elements.
        return {"element": elements}
    if node.name == "SOFTMAX" and is_int8:
        exponentials = newest.trips.get("exponential", elements)
        return {"call": 1.0, "element": elements, "exponential": exponentials}
    return None


def _convolution_trips(node: Node, newest: Trips) -> Trips:
    """Turns of CONV_2D, which in 2020 asks in its innermost loop whether a tap is in the image.

    Quantized scales are made multipliers in every call, too.
    """
    depth = float(node.input(1).shape[3])
    levels = ("tap", "tap_not_left", "tap_in_columns", "tap_not_above")
    trips = {**newest, **{f"{level}.channel": depth * newest[level] for level in levels}}
    if node.input(0).dtype is DType.INT8:
        trips["channel"] = float(node.output().shape[3])
    return trips


def with_scratch_warning(calls: tuple[KernelCall, ...], scratch: int) -> tuple[KernelCall, ...]:
    """The calls of a layer, told where they need more scratch memory than there is.

    Args:
        calls: the functions that run, the chosen one first.
        scratch: bytes that it needs.
    """
    if scratch <= SCRATCH_ARRAY_BYTES:
        return calls
    first, *others = calls
    said = (
        f"fails on a device: takes {scratch:,} bytes of scratch memory, TensorFlow 2.2.0 has "
        f"{SCRATCH_ARRAY_BYTES:,}"
    )
    return (replace(first, warnings=(*first.warnings, said)), *others)


def construct_call(graph: Graph) -> KernelCall:
    """Building the interpreter, which in 2020 sets up every tensor, too."""
    tensors = [t for s in graph.subgraphs for t in s.tensors]
    return KernelCall(
        "MicroInterpreter::MicroInterpreter",
        f"{_FOLDER}/construct",
        {
            "call": 1,
            "tensor": len(tensors),
            "scale": sum(t.quantization.scales.size for t in tensors if t.quantization),
        },
        reason="a resolver with the model's own operators, and every tensor's structure",
    )


def allocate_call(graph: Graph) -> KernelCall:
    """AllocateTensors: operators, options and the plan of the arena."""
    operators = sum(len(s.operators) for s in graph.subgraphs)
    tensors = sum(len(s.tensors) for s in graph.subgraphs)
    return KernelCall(
        "MicroInterpreter::AllocateTensors",
        f"{_FOLDER}/allocate_tensors",
        {"call": 1, "operator": operators, "tensor": tensors, "operator pair": operators**2},
        reason="runs once, before the first inference",
    )


def invoke_call(graph: Graph) -> KernelCall:
    """The loop of Invoke over the operators, without the operators."""
    return KernelCall(
        "MicroInterpreter::Invoke",
        f"{_FOLDER}/invoke",
        {"call": 1, "operator": len(graph.main.operators)},
        reason="the interpreter's loop over operators",
    )
