"""Reads ONNX networks of convolutions, dense layers, pooling and what stands between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mcusim.errors import McusimError, ModelError, UnsupportedOperatorError
from mcusim.graph import Graph
from mcusim.onnx.chains import Chain, Chains
from mcusim.onnx.file import OnnxModel, OnnxNode, parse
from mcusim.onnx.values import Building, Scale, Value, Weights

__all__ = ["Reading", "load"]


def load(path: Path) -> Graph:
    """Read an .onnx file.

    Images are channels last in a Graph, so that an input of ONNX shape ``(1, C, H, W)`` becomes one
    of ``(1, H, W, C)``; weights are rearranged to match, those behind a Flatten too. Batch
    normalization is folded, ReLU merged. Pairs of QuantizeLinear and DequantizeLinear make the
    operators between them integer ones, as do QLinearConv and QLinearMatMul.

    Args:
        path: the file.

    Raises:
        ModelError: the file is missing or damaged, or the ``onnx`` package is not installed.
        UnsupportedOperatorError: it holds an operator, or a form of one, that is not read.
    """
    from mcusim.onnx.operators import READERS

    model = parse(path)
    try:
        return Reading(model).graph(path.name, READERS)
    except McusimError as error:
        raise type(error)(f"{path}: {error}") from None
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path}: a node's tensors or attributes make no sense ({error})"
        ) from error


class Reading:
    """One file being read."""

    def __init__(self, model: OnnxModel) -> None:
        self.chains = Chains(model)
        self.building = Building()
        self.weights = {name: Weights(data, None) for name, data in model.constants.items()}
        self.constants = model.constants
        self._model = model
        self._values: dict[str, Value] = {}

    def graph(self, name: str, readers: Mapping[str, Callable[[Reading, OnnxNode], None]]) -> Graph:
        """The whole network.

        Args:
            name: what to call it.
            readers: what reads each operator.
        """
        inputs = []
        for input_name, shape in self._model.inputs:
            value = self.building.activation(input_name, shape, None)
            self.set(input_name, value)
            inputs.append(value.tensor)
        for node in self._model.nodes:
            if node.index in self.chains.taken:
                continue
            if node.operator not in readers:
                raise UnsupportedOperatorError(f"{node.place}: mcusim reads no such operator")
            readers[node.operator](self, node)
        outputs = [self.building.as_float(self._named(o)).tensor for o in self._model.outputs]
        return self.building.graph(name, inputs, outputs)

    def set(self, name: str, value: Value) -> None:
        """A value by name, for the nodes that read it."""
        self._values[name] = value

    def input(self, node: OnnxNode, position: int = 0) -> Value:
        """A computed input.

        Raises:
            UnsupportedOperatorError: it is a constant or left out.
            ModelError: nothing computes it.
        """
        node.refuse(len(node.inputs) > position, f"input {position} is missing")
        node.refuse(node.inputs[position] not in self.weights, "it computes from constants")
        return self._named(node.inputs[position])

    def constant(self, node: OnnxNode, position: int) -> Weights | None:
        """A constant input; None for one left out.

        Raises:
            UnsupportedOperatorError: it is computed.
        """
        if position >= len(node.inputs) or not node.inputs[position]:
            return None
        found = self.weights.get(node.inputs[position])
        node.refuse(found is not None, f"input {position} is no constant")
        return found

    def required(self, node: OnnxNode, position: int) -> Weights:
        """A constant input that must be there.

        Raises:
            UnsupportedOperatorError: it is computed or left out.
        """
        found = self.constant(node, position)
        if found is None:
            raise UnsupportedOperatorError(f"{node.place}: input {position} is missing")
        return found

    def operands(self, chain: Chain, inputs: Sequence[Value]) -> list[Value]:
        """Inputs as they are stored where the result is quantized, too; else as float32."""
        if chain.scale is not None and all(value.is_view for value in inputs):
            return list(inputs)
        return [self.building.as_float(value) for value in inputs]

    def emit(
        self,
        chain: Chain,
        operands: Sequence[Value],
        shape: tuple[int, ...],
        operator: Callable[[Value], None],
        image: tuple[int, int, int] | None = None,
    ) -> None:
        """Append an operator, and QUANTIZE behind it where it computes float32 to be quantized.

        Args:
            chain: of its node.
            operands: its computed inputs, as they are read.
            shape: of the result, as ONNX has it.
            operator: appends it, given its output.
            image: as in :class:`Value`.
        """
        is_integer = chain.scale is not None and all(value.is_view for value in operands)
        scale: Scale | None = chain.scale if is_integer else None
        value = replace(self.building.activation(chain.output, shape, scale), image=image)
        operator(value)
        if chain.scale is not None and not is_integer:
            value = self.building.quantized(value, chain.scale)
        self.set(chain.output, replace(value, is_view=chain.scale is not None))

    def _named(self, name: str) -> Value:
        if name not in self._values:
            raise ModelError(f"{name!r} is read, but nothing computes it")
        return self._values[name]
