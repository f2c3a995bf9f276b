"""TFLite Micro of TensorFlow 2.2.0 (May 2020), where it is not the one of today.

Its reference kernels are counted for the operators that five networks leave to them; the others
are priced as those of 2026. Its int8 kernels call CMSIS-NN of February 2020 with one static scratch
array.
"""

from __future__ import annotations

from dataclasses import replace

from mcusim.errors import UnsupportedOperatorError
from mcusim.graph import DType, Graph, Node
from mcusim.kernels.contract import KernelCall

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
        newest: the same kernel of 2026, whose loops it is taken to have unless it was counted.
    """
    _, _, name = newest.profile.partition("/")
    elements = float(node.output().elements)
    trips = {
        "RESHAPE": {"call": 1.0, "byte": float(node.output().bytes)},
        "QUANTIZE": {"call": 1.0, "element": elements},
        # Both counted rows have ten elements, so that the call's own share is in the elements.
        "DEQUANTIZE": {"element": elements},
        "SOFTMAX": {
            "call": 1.0,
            "element": elements,
            "exponential": newest.trips.get("exponential", elements),
        },
    }
    counted = node.name in trips and _is_int8(node)
    return replace(
        newest,
        profile=f"{_FOLDER}/{name}",
        trips=trips[node.name] if counted else newest.trips,
    )


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


def _is_int8(node: Node) -> bool:
    side = node.output() if node.name == "QUANTIZE" else node.input(0)
    source = node.input(0).dtype
    return side.dtype is DType.INT8 and (node.name != "QUANTIZE" or source is DType.FLOAT32)


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
