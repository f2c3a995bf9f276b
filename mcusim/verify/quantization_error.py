"""Where quantization hurts: each layer of a quantized network beside the float one it came from."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mcusim.errors import InputError, ModelError
from mcusim.graph import Array, DType, Graph, Node, Tensor
from mcusim.interpreter import Interpreter
from mcusim.runtimes import Runtime, select
from mcusim.verify.comparison import stands_alone

__all__ = ["SCHEMA", "LayerError", "QuantizationError", "quantization_error", "quantized_inputs"]

#: Name and version of what :meth:`QuantizationError.to_dict` returns.
SCHEMA = "mcusim/quantization-error/1"

_Floats = npt.NDArray[np.float64]

#: Operators that only change how numbers are held.
_CASTS = frozenset({"QUANTIZE", "DEQUANTIZE"})
#: A layer below this signal-to-noise ratio, in decibels, has lost what 8 bits hold.
_LOSS_DB = 20.0


@dataclass(frozen=True)
class LayerError:
    """What quantization does to one layer's output. Shares are of 1.

    Attributes:
        index: position of the operator in the quantized model.
        operator: the schema's name.
        tensor: name of the output.
        signal_to_noise_db: of the output beside the float one, errors of layers before included.
        own_signal_to_noise_db: what the layer's own weights, steps and output scale do: beside the
            float layer, both computing from the float network's values rounded to the quantized
            layer's input; None where it cannot be run alone.
        bias: mean error over the standard deviation of the float output.
        saturated: share of the float values that lie outside what the output can hold.
        unused_below: share of the type's codes below every value that occurs.
        unused_above: share of the codes above every value that occurs.
        zero_point_waste: share of the codes for negative numbers of an output that has none.
        channel_spread: largest over smallest range of the weights' channels where one scale serves
            all of them; 1 where each has its own, and without weights.
    """

    index: int
    operator: str
    tensor: str
    signal_to_noise_db: float
    own_signal_to_noise_db: float | None
    bias: float
    saturated: float
    unused_below: float
    unused_above: float
    zero_point_waste: float
    channel_spread: float


@dataclass(frozen=True)
class QuantizationError:
    """The layers of a quantized model, as far as the float one has them.

    Attributes:
        model: name of the quantized model.
        reference: name of the float one.
        runtime: that computed the quantized one.
        inferences: how many inputs.
        inputs_saturated: share of each input's values outside what it can hold.
        layers: one an operator, in order.
        unmatched: indices of operators that the float model does not have.
    """

    model: str
    reference: str
    runtime: str
    inferences: int
    inputs_saturated: tuple[float, ...]
    layers: tuple[LayerError, ...]
    unmatched: tuple[int, ...]

    @property
    def first_loss(self) -> LayerError | None:
        """The first layer below 20 dB; None where every layer holds its signal."""
        return next((x for x in self.layers if x.signal_to_noise_db < _LOSS_DB), None)

    @property
    def adds_most(self) -> LayerError | None:
        """The layer that adds most noise by itself; None where no layer could be run alone."""
        alone = [x for x in self.layers if x.own_signal_to_noise_db is not None]
        return min(alone, key=lambda x: x.own_signal_to_noise_db or 0.0, default=None)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; an infinite ratio, of equal values, is null."""
        first, most = self.first_loss, self.adds_most
        return {
            "schema": SCHEMA,
            "model": self.model,
            "reference": self.reference,
            "runtime": self.runtime,
            "inferences": self.inferences,
            "inputs_saturated": list(self.inputs_saturated),
            "first_loss": first and first.index,
            "adds_most": most and most.index,
            "unmatched": list(self.unmatched),
            "layers": [
                {k: v if not isinstance(v, float) or math.isfinite(v) else None
                 for k, v in vars(layer).items()}
                for layer in self.layers
            ],
        }  # fmt: skip


def quantization_error(
    graph: Graph,
    reference: Graph,
    inputs: Sequence[Array],
    *,
    runtime: str = "tflm",
    core: str = "m4",
) -> QuantizationError:
    """Compare each layer of a quantized model with the float model it was made from.

    Args:
        graph: the quantized model.
        reference: the float model; layers are matched by the names of their outputs, then by order.
        inputs: float32 arrays for the float model, with a leading axis of inferences.
        runtime: that computes the quantized model.
        core: the device's core.

    Raises:
        InputError: the models do not take the same inputs, or share no layer; an input is not
            finite.
        ModelError: a runtime cannot run a model.
    """
    library = select(runtime, core)
    for tensor, values in zip(reference.inputs, inputs, strict=False):
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError(f"{reference.name}: input {tensor.name!r} holds NaN or infinity")
    exact = Interpreter(reference).invoke(list(inputs), tensors=True).tensors
    held = Interpreter(graph, runtime, core=core).invoke(
        quantized_inputs(graph, inputs), tensors=True
    )
    matched = _matched(graph, reference)
    if not matched:
        raise InputError(f"{graph.name} and {reference.name} have no layer in common")
    floats = {i: exact[j].astype(np.float64) for i, j in matched.items()}
    for ours, theirs in zip(graph.inputs, reference.inputs, strict=True):
        floats[ours.index] = exact[theirs.index].astype(np.float64)
    _through_casts(graph, floats)
    writers = {n.outputs[0].index: n for n in reference.main.nodes if n.outputs}
    originals = {i: writers[j] for i, j in matched.items()}
    inferences = len(inputs[0]) if inputs else 1
    layers = [
        _layer(node, originals.get(node.outputs[0].index), floats, held.tensors, library)
        for node in graph.main.nodes
        if node.outputs and node.outputs[0].index in floats and node.name not in _CASTS
    ]
    unmatched = [
        node.index
        for node in graph.main.nodes
        if node.name not in _CASTS and not (node.outputs and node.outputs[0].index in floats)
    ]
    saturated = [_range_use(t, floats[t.index], held.tensors[t.index])[0] for t in graph.inputs]
    return QuantizationError(
        graph.name,
        reference.name,
        library.name,
        inferences,
        tuple(saturated),
        tuple(layers),
        tuple(unmatched),
    )


def quantized_inputs(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """Float inputs as a model's inputs hold them: rounded to the nearest code, ties to even.

    Raises:
        InputError: their number does not fit, or an input has no quantization.
    """
    if len(inputs) != len(graph.inputs):
        raise InputError(f"{graph.name} takes {len(graph.inputs)} inputs, {len(inputs)} were given")
    return [_held(t, np.asarray(a)) for t, a in zip(graph.inputs, inputs, strict=True)]


def _held(tensor: Tensor, values: Array) -> Array:
    """Real values as a tensor's elements."""
    if tensor.dtype in (DType.FLOAT32, DType.FLOAT64) or tensor.quantization is None:
        if tensor.dtype.numpy.kind != "f":
            raise InputError(f"tensor {tensor.name!r} is {tensor.dtype.value} without quantization")
        return values.astype(tensor.dtype.numpy)
    limits = np.iinfo(tensor.dtype.numpy)
    q = tensor.quantization
    codes = np.rint(values.astype(np.float64) / q.scale) + q.zero_point
    held: Array = np.clip(codes, limits.min, limits.max).astype(tensor.dtype.numpy)
    return held


def _real(tensor: Tensor, values: Array) -> _Floats:
    """What a tensor's elements stand for."""
    reals = values.astype(np.float64)
    if tensor.dtype.numpy.kind == "f" or tensor.quantization is None:
        return reals
    return (reals - tensor.quantization.zero_point) * tensor.quantization.scale


def _matched(graph: Graph, reference: Graph) -> dict[int, int]:
    """Tensors of the quantized model and those of the float one that they stand for."""
    ours = [n for n in graph.main.nodes if n.name not in _CASTS and n.outputs]
    theirs = [n for n in reference.main.nodes if n.name not in _CASTS and n.outputs]
    by_name = {n.outputs[0].name: n for n in theirs}
    found = {}
    for node in ours:
        same = by_name.get(node.outputs[0].name)
        if same is not None and _kind(same) == _kind(node):
            found[node.outputs[0].index] = same.outputs[0].index
    order = difflib.SequenceMatcher(
        None, [_kind(n) for n in ours], [_kind(n) for n in theirs], autojunk=False
    )
    taken = set(found.values())
    for block in order.get_matching_blocks():
        for i in range(block.size):
            a, b = ours[block.a + i].outputs[0].index, theirs[block.b + i].outputs[0].index
            if a not in found and b not in taken:
                found[a] = b
                taken.add(b)
    return found


def _kind(node: Node) -> tuple[str, tuple[int, ...]]:
    return node.name, node.outputs[0].shape


def _through_casts(graph: Graph, floats: dict[int, _Floats]) -> None:
    """QUANTIZE and DEQUANTIZE hold the same numbers before and behind."""
    for node in graph.main.nodes:
        if node.name in _CASTS and node.input(0).index in floats:
            floats[node.outputs[0].index] = floats[node.input(0).index]


def _layer(
    node: Node,
    original: Node | None,
    floats: Mapping[int, _Floats],
    held: Mapping[int, Array],
    library: Runtime,
) -> LayerError:
    tensor = node.outputs[0]
    exact = floats[tensor.index]
    codes = held[tensor.index]
    error = _real(tensor, codes).reshape(exact.shape) - exact
    deviation = float(exact.std())
    return LayerError(
        node.index,
        node.name,
        tensor.name,
        _ratio_db(exact, error),
        None if original is None else _own_ratio_db(node, original, floats, library),
        float(error.mean()) / deviation if deviation else 0.0,
        *_range_use(tensor, exact, codes),
        _channel_spread(node),
    )


def _ratio_db(signal: _Floats, noise: _Floats) -> float:
    power, lost = float(np.square(signal).sum()), float(np.square(noise).sum())
    if not lost:
        return math.inf
    return 10 * math.log10(power / lost) if power else -math.inf


def _own_ratio_db(
    node: Node, original: Node, floats: Mapping[int, _Floats], library: Runtime
) -> float | None:
    pairs = list(zip(node.inputs, original.inputs, strict=False))
    fed = [(t, o) for t, o in pairs if t is not None and o is not None and not t.is_constant]
    computed = [t for t in node.inputs if t is not None and not t.is_constant]
    if (
        not stands_alone(node)
        or len(fed) < len(computed)
        or any(t.index not in floats or o.is_constant for t, o in fed)
    ):
        return None
    codes = {t.index: _held(t, floats[t.index]).reshape(-1, *t.shape) for t, _ in fed}
    reals = {o.index: _real(t, codes[t.index]).reshape(-1, *o.shape) for t, o in fed}
    values = _bound(library, node, codes)
    exact = _bound(select("tflm"), original, reals)
    if values is None or exact is None:
        return None
    wanted = exact.astype(np.float64)
    return _ratio_db(wanted, _real(node.outputs[0], values).reshape(wanted.shape) - wanted)


def _bound(library: Runtime, node: Node, fed: Mapping[int, Array]) -> Array | None:
    """First output of an operator run alone; None where the runtime refuses these values."""
    inputs = [
        None
        if t is None
        else t.data[np.newaxis]
        if t.data is not None
        else fed[t.index].astype(t.dtype.numpy)
        for t in node.inputs
    ]
    try:
        return library.bind(node)(inputs)[0]
    except ModelError:
        return None


def _range_use(tensor: Tensor, exact: _Floats, codes: Array) -> tuple[float, float, float, float]:
    """Shares saturated, unused below and above, and wasted on negative numbers."""
    if tensor.dtype.numpy.kind == "f" or tensor.quantization is None or not codes.size:
        return 0.0, 0.0, 0.0, 0.0
    limits = np.iinfo(tensor.dtype.numpy)
    q = tensor.quantization
    span = limits.max - limits.min
    half = q.scale / 2
    low, high = ((end - q.zero_point) * q.scale for end in (limits.min, limits.max))
    saturated = float(((exact < low - half) | (exact > high + half)).mean())
    below = (int(codes.min()) - limits.min) / span
    above = (limits.max - int(codes.max())) / span
    negative = (q.zero_point - limits.min) / span if float(exact.min()) >= 0 else 0.0
    return saturated, below, above, max(negative, 0.0)


def _channel_spread(node: Node) -> float:
    weights = next(_weights(node), None)
    if weights is None or weights.data is None or weights.quantization is None:
        return 1.0
    if weights.quantization.is_per_channel or weights.data.ndim < 2:
        return 1.0
    axis = 3 if node.name == "DEPTHWISE_CONV_2D" else 0
    across = tuple(i for i in range(weights.data.ndim) if i != axis)
    ranges = np.abs(weights.data.astype(np.float64) - weights.quantization.zero_point).max(across)
    ranges = ranges[ranges > 0]
    return float(ranges.max() / ranges.min()) if ranges.size else 1.0


def _weights(node: Node) -> Iterator[Tensor]:
    if node.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"):
        yield node.input(1)
