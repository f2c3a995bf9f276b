"""ONNX networks, built with the onnx package and run by onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]

__all__ = ["Network", "onnxruntime_outputs"]


class Network:
    """A file in the making; names of values are those given."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, Array] = {}

    def constant(self, name: str, value: npt.ArrayLike, dtype: type[np.generic]) -> str:
        """An initializer."""
        self._constants[name] = np.asarray(value, dtype)
        return name

    def weights(self, name: str, *shape: int) -> str:
        """Random float32 weights."""
        fan_in = int(np.prod(shape[1:])) or 1
        drawn = self.random.normal(0, 1 / np.sqrt(fan_in), shape)
        return self.constant(name, drawn, np.float32)

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """A node of one output."""
        self._nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def quantized(self, x: str, scale: float, zero: int) -> str:
        """A pair of QuantizeLinear and DequantizeLinear behind a value, uint8."""
        pair = [
            self.constant(f"{x}_scale", scale, np.float32),
            self.constant(f"{x}_zero", zero, np.uint8),
        ]
        self.node("QuantizeLinear", [x, *pair], f"{x}_q")
        return self.node("DequantizeLinear", [f"{x}_q", *pair], f"{x}_dq")

    def stored(self, name: str, shape: tuple[int, ...], scale: float, zero: int) -> str:
        """Random uint8 weights behind DequantizeLinear."""
        data = self.constant(name, self.random.integers(0, 256, shape), np.uint8)
        pair = [
            self.constant(f"{name}_scale", scale, np.float32),
            self.constant(f"{name}_zero", zero, np.uint8),
        ]
        return self.node("DequantizeLinear", [data, *pair], f"{name}_dq")

    def save(self, path: Path, shape: Sequence[int], output: str, outputs: Sequence[int]) -> Path:
        """Write the file; its input is called ``x``."""
        graph = helper.make_graph(
            self._nodes,
            "network",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, outputs)],
            [numpy_helper.from_array(a, n) for n, a in self._constants.items()],
        )
        opset = helper.make_opsetid("", 17)
        onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
        return path


def onnxruntime_outputs(path: Path, inputs: Mapping[str, Array]) -> Array:
    """The first output, computed by onnxruntime."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found: Array = np.asarray(session.run(None, dict(inputs))[0])
    return found
