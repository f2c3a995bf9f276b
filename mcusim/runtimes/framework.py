"""What TFLite Micro runs beside its kernels: construction, AllocateTensors, the loop of Invoke."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass

from mcusim.graph import DType, Graph, Node
from mcusim.kernels.contract import KernelCall
from mcusim.runtimes.plan import BufferPlacement

__all__ = [
    "PREPARE_KINDS",
    "PlannerSteps",
    "allocate_call",
    "construct_call",
    "invoke_call",
    "planner_steps",
    "prepare_kind",
]

#: Operators whose Init and Prepare were counted, by the element types that they were counted on.
#: The type is that of the first input that is computed.
_COUNTED: dict[str, str] = {
    "ADD": "int8 int16 float32",
    "ARG_MAX": "int8 float32",
    "AVERAGE_POOL_2D": "int8 int16 float32",
    "BATCH_MATMUL": "int8 float32",
    "CONCATENATION": "int8 float32",
    "CONV_2D": "int8 int16 float32",
    "DEPTHWISE_CONV_2D": "int8 int16 float32",
    "DEQUANTIZE": "int8 int16",
    "FULLY_CONNECTED": "int8 int16 float32",
    "HARD_SWISH": "int8 float32",
    "LEAKY_RELU": "int8 float32",
    "LOGISTIC": "int8 int16 float32",
    "MAXIMUM": "int8 float32",
    "MAX_POOL_2D": "int8 int16 float32",
    "MEAN": "int8 float32",
    "MINIMUM": "int8 float32",
    "MUL": "int8 int16 float32",
    "PACK": "int8",
    "PAD": "int8 float32",
    "PRELU": "int8 float32",
    "QUANTIZE": "int8 int16 float32",
    "RELU": "int8 float32",
    "RELU6": "int8 float32",
    "RESHAPE": "int8 float32",
    "RESIZE_BILINEAR": "int8 float32",
    "RESIZE_NEAREST_NEIGHBOR": "int8",
    "SOFTMAX": "int8 int16 float32",
    "SPLIT": "int8",
    "STRIDED_SLICE": "int8",
    "SUB": "int8 float32",
    "SVDF": "int8 float32",
    "TANH": "int8 int16 float32",
    "TRANSPOSE": "int8",
    "TRANSPOSE_CONV": "int8 float32",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "int8 float32",
}
_OTHER = "prepare other"

#: Loop levels of AllocateTensors that stand for one operator's Init and Prepare.
PREPARE_KINDS: tuple[str, ...] = (
    *(
        f"prepare {operator.lower()}_{dtype}"
        for operator, dtypes in _COUNTED.items()
        for dtype in dtypes.split()
    ),
    _OTHER,
)
_KINDS = frozenset(PREPARE_KINDS)

#: Operators that compute a multiplier for each output channel, by the input that holds weights.
_PER_CHANNEL = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "TRANSPOSE_CONV": 1, "FULLY_CONNECTED": 1}


@dataclass(frozen=True)
class PlannerSteps:
    """What TFLM's GreedyMemoryPlanner does for a set of buffers.

    Attributes:
        compare: comparisons of neighbours while sorting by size.
        swap: those that exchanged them.
        scan: placed buffers looked at for an overlap in time.
        insert: placed buffers passed while keeping them in order of offset.
    """

    compare: int
    swap: int
    scan: int
    insert: int


def construct_call(graph: Graph) -> KernelCall:
    """Building the operator resolver and the interpreter.

    The resolver registers each operator that the model uses, and looks for it first among those
    registered before. Source: ``MicroMutableOpResolver::AddBuiltin``, ``MicroInterpreter``.
    """
    registered = len({(o.name, o.custom_code) for s in graph.subgraphs for o in s.operators})
    return KernelCall(
        "MicroInterpreter::MicroInterpreter",
        "framework/construct",
        {
            "call": 1,
            "operator": registered,
            "operator.search": registered * (registered - 1) // 2,
        },
        reason="a resolver with the model's own operators",
    )


def allocate_call(graph: Graph, placements: Sequence[BufferPlacement]) -> KernelCall:
    """AllocateTensors: every operator's Init and Prepare, and the plan of the arena.

    Args:
        graph: the model.
        placements: buffers of the arena's head, tensors and scratch buffers alike.

    Source: ``MicroInterpreter::AllocateTensors``, ``MicroAllocator``, ``GreedyMemoryPlanner``.
    """
    nodes = [node for subgraph in graph.subgraphs for node in subgraph.nodes]
    kinds = [prepare_kind(node) for node in nodes]
    steps = planner_steps(placements)
    uncounted = sorted({n.name for n, kind in zip(nodes, kinds, strict=True) if kind == _OTHER})
    trips: dict[str, float] = {
        "call": 1,
        "tensor": sum(len(s.tensors) for s in graph.subgraphs),
        "operand": sum(len(n.inputs) + len(n.outputs) for n in nodes),
        "interface tensor": len(graph.inputs) + len(graph.outputs),
        "channel": sum(_channels(n, quantized=True) for n in nodes),
        "zero point": sum(_channels(n, quantized=False) for n in nodes),
        "variable byte": sum(t.bytes for s in graph.subgraphs for t in s.tensors if t.is_variable),
        "buffer": len(placements),
        "planner.compare": steps.compare,
        "planner.swap": steps.swap,
        "planner.scan": steps.scan,
        "planner.insert": steps.insert,
    }
    trips.update((kind, kinds.count(kind)) for kind in PREPARE_KINDS)
    return KernelCall(
        "MicroInterpreter::AllocateTensors",
        "framework/allocate_tensors",
        trips,
        reason="runs once, before the first inference",
        warnings=tuple(f"Prepare of {name} was not counted" for name in uncounted),
    )


def invoke_call(graph: Graph) -> KernelCall:
    """The loop of Invoke over the operators of the main subgraph, without the operators.

    Source: ``MicroInterpreterGraph::InvokeSubgraph``.
    """
    return KernelCall(
        "MicroInterpreter::Invoke",
        "framework/invoke",
        {"call": 1, "operator": len(graph.main.operators)},
        reason="the interpreter's loop over operators",
    )


def prepare_kind(node: Node) -> str:
    """Loop level of AllocateTensors for an operator's Init and Prepare, out of PREPARE_KINDS."""
    tensors = [t for t in (*node.inputs, *node.outputs) if t is not None]
    first = next((t for t in tensors if not t.is_constant), None)
    dtype = first.dtype.value if first else ""
    kind = f"prepare {node.name.lower()}_{dtype}"
    return kind if kind in _KINDS else _OTHER


def planner_steps(placements: Sequence[BufferPlacement]) -> PlannerSteps:
    """Count the steps of the greedy planner.

    Args:
        placements: the buffers, in the order that the library adds them.

    Source: ``GreedyMemoryPlanner::CalculateOffsetsIfNeeded``, which lists them from the last to the
    first, sorts them by size with ``ReverseSortInPlace``, and places one after the other.
    """
    from_last = placements[::-1]
    compare, swap = _bubble_sort([p.size_bytes for p in from_last])
    placed: list[BufferPlacement] = []
    scan = insert = 0
    for buffer in sorted(from_last, key=lambda p: -p.size_bytes):
        if placed:
            scan += _scanned(placed, buffer)
        position = bisect_right(placed, buffer.offset_bytes, key=lambda p: p.offset_bytes)
        insert += position
        placed.insert(position, buffer)
    return PlannerSteps(compare, swap, scan, insert)


def _bubble_sort(sizes: Sequence[int]) -> tuple[int, int]:
    """Comparisons and swaps of a bubble sort from the largest to the smallest.

    Each pass moves a size past one smaller one before it, and the last pass finds nothing to do.
    """
    seen: list[int] = []
    passed = []
    for size in sizes:
        passed.append(bisect_left(seen, size))
        insort(seen, size)
    return (max(passed, default=0) + 1) * max(len(sizes) - 1, 0), sum(passed)


def _scanned(placed: Sequence[BufferPlacement], buffer: BufferPlacement) -> int:
    """Placed buffers, in order of offset, looked at until one leaves a gap for ``buffer``."""
    end = 0
    for looked_at, other in enumerate(placed, start=1):
        if (
            other.first_operator > buffer.last_operator
            or buffer.first_operator > other.last_operator
        ):
            continue
        if other.offset_bytes - end >= buffer.size_bytes:
            return looked_at
        end = max(end, other.offset_bytes + other.size_bytes)
    return len(placed)


def _channels(node: Node, *, quantized: bool) -> int:
    """Slices with a scale of their own: of the weights whose multipliers Prepare computes.

    With ``quantized`` those of integer kernels, where each takes a division of doubles; without,
    every scale that is copied.
    """
    if not quantized:
        return sum(
            t.quantization.scales.size
            for t in (*node.inputs, *node.outputs)
            if t is not None and t.quantization is not None
        )
    position = _PER_CHANNEL.get(node.name)
    weights = None if position is None else node.optional_input(position)
    if weights is None or weights.dtype is DType.FLOAT32 or weights.quantization is None:
        return 0
    return int(weights.quantization.scales.size)
