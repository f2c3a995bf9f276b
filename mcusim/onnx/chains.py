"""What follows an operator and is part of it: batch normalization, ReLU, quantization.

Batch normalization is folded into the convolution before it and ReLU merged, as Deutel et al. 2023
(section 4.2) do before they generate code.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mcusim.errors import UnsupportedOperatorError
from mcusim.graph import Array, DType
from mcusim.onnx.file import OnnxModel, OnnxNode
from mcusim.onnx.values import Scale

__all__ = ["Chain", "Chains", "scale_of"]

_NO_OPERATION = ("Identity", "Dropout")
_DTYPES = {"int8": DType.INT8, "uint8": DType.UINT8, "int32": DType.INT32}


@dataclass(frozen=True, eq=False)
class Chain:
    """An operator and what is part of it.

    Attributes:
        output: name of the value behind all of it.
        factor: what batch normalization multiplies each channel by; None without one.
        offset: what it adds.
        activation: ``NONE``, ``RELU`` or ``RELU6``.
        scale: what the result is quantized to; None for float32.
    """

    output: str
    factor: Array | None = None
    offset: Array | None = None
    activation: str = "NONE"
    scale: Scale | None = None


class Chains:
    """Finds chains, and remembers which nodes they took."""

    def __init__(self, model: OnnxModel) -> None:
        self._constants = model.constants
        self._outputs = set(model.outputs)
        self._readers: Mapping[str, list[OnnxNode]] = defaultdict(list)
        for node in model.nodes:
            for name in node.inputs:
                self._readers[name].append(node)
        self.taken: set[int] = set()

    def behind(self, node: OnnxNode, *, fold: bool, merge: bool) -> Chain:
        """The chain of a node.

        Args:
            node: the operator.
            fold: it is linear in its channels, so that batch normalization folds into it.
            merge: it takes a fused activation.
        """
        name = node.outputs[0]
        factor = offset = None
        activation = "NONE"
        while (reader := self._only_reader(name)) is not None:
            if reader.operator in _NO_OPERATION:
                pass
            elif reader.operator == "BatchNormalization" and fold and activation == "NONE":
                again, shift = _normalization(reader, self._constants)
                factor = again if factor is None else factor * again
                offset = shift if offset is None else offset * again + shift
            elif reader.operator == "Relu" and merge and activation == "NONE":
                activation = "RELU"
            elif reader.operator == "Clip" and merge and self._is_relu6(reader):
                activation = "RELU6"
            elif reader.operator == "QuantizeLinear":
                self.taken.add(reader.index)
                scale = scale_of(reader, self._constants, 1)
                return Chain(reader.outputs[0], factor, offset, activation, scale)
            else:
                break
            self.taken.add(reader.index)
            name = reader.outputs[0]
        return Chain(name, factor, offset, activation)

    def _only_reader(self, name: str) -> OnnxNode | None:
        readers = self._readers[name]
        return readers[0] if len(readers) == 1 and name not in self._outputs else None

    def _is_relu6(self, node: OnnxNode) -> bool:
        bounds = [self._constants.get(name) for name in node.inputs[1:3]]
        values = [float(b.ravel()[0]) for b in bounds if b is not None and b.size]
        return values == [0.0, 6.0] or (node.real("min", -1.0), node.real("max", 0.0)) == (0.0, 6.0)


def scale_of(node: OnnxNode, constants: Mapping[str, Array], first: int) -> Scale:
    """Scale and zero point among a node's inputs.

    Args:
        node: QuantizeLinear, DequantizeLinear, or an operator with them among its inputs.
        constants: the file's.
        first: position of the scale; the zero point is behind it.
    """
    named = [node.inputs[i] if i < len(node.inputs) else "" for i in (first, first + 1)]
    scales, points = constants.get(named[0]), constants.get(named[1])
    if scales is None:
        raise UnsupportedOperatorError(f"{node.place}: its scale is no constant")
    node.refuse(points is not None or not named[1], "its zero point is no constant")
    if points is None:
        points = np.zeros(1, np.uint8)
    node.refuse(points.dtype.name in _DTYPES, f"it quantizes to {points.dtype.name}")
    axis = node.integer("axis", 1) if np.size(scales) > 1 else 0
    return Scale(
        np.atleast_1d(np.asarray(scales)), np.atleast_1d(points), _DTYPES[points.dtype.name], axis
    )


def _normalization(node: OnnxNode, constants: Mapping[str, Array]) -> tuple[Array, Array]:
    """Factor and offset of each channel.

    Source: ONNX BatchNormalization, in inference.
    """
    found: Sequence[Array | None] = [constants.get(name) for name in node.inputs[1:5]]
    node.refuse(
        len(found) == 4 and all(f is not None for f in found), "its parameters are computed"
    )
    scale, bias, mean, variance = (np.asarray(f, np.float32) for f in found)
    factor = scale / np.sqrt(variance + np.float32(node.real("epsilon", 1e-5)))
    return factor, bias - mean * factor
