"""Networks written in a line, and priced untrained: time and memory do not depend on the weights.

``49x10x1 c64k10x4s2 d3 c64k1 d3 c64k1 a f12 softmax`` is DS-CNN in small: the input's shape, then
the layers one after the other:

=============  ==================================================================================
``c64k10x4s2``  convolution of 64 filters, 10x4 taps, stride 2; ``k3`` is 3x3, ``v`` behind it means
                without padding
``d3s2``        depthwise convolution of 3x3 taps, stride 2
``f12``         dense layer of 12 units, after flattening
``a2`` ``m2``   average or maximum of 2x2 windows; ``a`` alone takes the whole image
``(c16k3 c16k3)+``  layers whose output is added to their input
``softmax``     softmax
=============  ==================================================================================
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from mcusim.errors import ModelError
from mcusim.graph import (
    Array,
    DType,
    Graph,
    Operator,
    Options,
    OptionValue,
    Quantization,
    Subgraph,
    Tensor,
)

__all__ = ["UNTRAINED", "described", "is_description"]

#: Description of a graph without weights worth speaking of.
UNTRAINED = "untrained"

#: Larger numbers are for no microcontroller either.
_N = r"\d{1,9}"
_INPUT = re.compile(rf"{_N}(x{_N}){{0,2}}")
_SIZE = rf"(?P<rows>{_N})(?:x(?P<columns>{_N}))?"
_TOKENS = {
    "CONV_2D": re.compile(rf"c(?P<filters>{_N})k{_SIZE}(?:s(?P<stride>{_N}))?(?P<valid>v)?"),
    "DEPTHWISE_CONV_2D": re.compile(rf"d{_SIZE}(?:s(?P<stride>{_N}))?(?P<valid>v)?"),
    "FULLY_CONNECTED": re.compile(rf"f(?P<filters>{_N})"),
    "AVERAGE_POOL_2D": re.compile(rf"a(?:{_SIZE})?(?:s(?P<stride>{_N}))?"),
    "MAX_POOL_2D": re.compile(rf"m{_SIZE}(?:s(?P<stride>{_N}))?"),
}
#: Scales of a network that was never trained; the instructions hardly depend on them.
_ACTIVATION, _WEIGHT, _OUTPUT = 0.05, 0.01, 1 / 256
#: A layer larger than this is for no microcontroller.
_MOST_ELEMENTS = 1 << 26
_MOST_CHANNELS = 1 << 16
#: Bytes of a file beside its constants, for a tensor, for an operator, and in all, as the zoo's
#: files have them.
_TENSOR_BYTES, _OPERATOR_BYTES, _FILE_BYTES = 120, 60, 600
#: A scale, float32, and a zero point, int64.
_SCALE_BYTES = 12


def is_description(text: str) -> bool:
    """Whether a text looks like a network in a line rather than a path or a name."""
    words = text.split()
    return len(words) > 1 and bool(_INPUT.fullmatch(words[0]))


def described(text: str) -> Graph:
    """Build the int8 network that a line describes, without weights worth speaking of.

    Args:
        text: the network.

    Raises:
        ModelError: the text describes none; names the word.
    """
    words = text.replace("(", " ( ").replace(")+", " )+ ").split()
    if not words or not _INPUT.fullmatch(words[0]):
        raise ModelError(f"{text!r} is no network: it begins with the input's shape, as 49x10x1")
    extents = [int(n) for n in words[0].split("x")]
    shape = (1, *extents) if len(extents) in (1, 3) else (1, *extents, 1)
    network = _Network(text, shape)
    for word in words[1:]:
        network.add(word)
    return network.graph()


@lru_cache(maxsize=4096)
def _zeros(shape: tuple[int, ...], dtype: DType) -> Array:
    """Zeros that take no memory, the same array each time."""
    zeros: Array = np.broadcast_to(dtype.numpy.type(0), shape)
    return zeros


@lru_cache(maxsize=4096)
def _scales(scale: float, count: int, zero_point: int, axis: int) -> Quantization:
    return Quantization(
        np.full(count, scale, np.float32), np.full(count, zero_point, np.int64), axis
    )


class _Network:
    """Tensors and operators so far."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self._name = name
        self._tensors: list[Tensor] = []
        self._operators: list[Operator] = []
        self._shortcuts: list[int] = []
        self._last = self._activation(shape)

    def add(self, word: str) -> None:
        """Add what a word says."""
        if word == "(":
            self._shortcuts.append(self._last)
            return
        if word == ")+":
            self._close(word)
            return
        if word == "softmax":
            self._layer(
                "SOFTMAX", "SoftmaxOptions", [self._last], self._shape, {"beta": 1.0}, _OUTPUT
            )
            return
        for operator, pattern in _TOKENS.items():
            if found := pattern.fullmatch(word):
                self._match(operator, word, found)
                return
        raise ModelError(
            f"{self._name!r}: {word!r} is no layer; there are c64k3s2, d3s2, f12, a2, m2, "
            "(…)+ and softmax"
        )

    def graph(self) -> Graph:
        """The network."""
        if self._shortcuts:
            raise ModelError(f"{self._name!r}: a '(' is never closed by ')+'")
        if not self._operators:
            raise ModelError(f"{self._name!r} has no layer")
        constants = sum(t.bytes for t in self._tensors if t.is_constant)
        scales = sum(t.quantization.scales.size for t in self._tensors if t.quantization)
        size = _FILE_BYTES + _TENSOR_BYTES * len(self._tensors) + _SCALE_BYTES * scales
        size += _OPERATOR_BYTES * len(self._operators) + constants
        main = Subgraph("main", tuple(self._tensors), (0,), (self._last,), tuple(self._operators))
        return Graph((main,), name=self._name, description=UNTRAINED, model_bytes=size)

    @property
    def _shape(self) -> tuple[int, ...]:
        return self._tensors[self._last].shape

    def _close(self, word: str) -> None:
        if not self._shortcuts:
            raise ModelError(f"{self._name!r}: {word!r} closes no '('")
        start = self._shortcuts.pop()
        if self._tensors[start].shape != self._shape:
            raise ModelError(
                f"{self._name!r}: layers of a shape {list(self._shape)} cannot be added to their "
                f"input of {list(self._tensors[start].shape)}"
            )
        fused: dict[str, OptionValue] = {
            "fused_activation_function": "NONE",
            "pot_scale_int16": False,
        }
        self._layer("ADD", "AddOptions", [start, self._last], self._shape, fused)

    def _match(self, operator: str, word: str, found: re.Match[str]) -> None:
        said = found.groupdict()
        if operator == "FULLY_CONNECTED":
            self._dense(int(said["filters"]))
            return
        if len(self._shape) != 4:
            raise ModelError(f"{self._name!r}: {word!r} needs an image, not {list(self._shape)}")
        _, height, width, depth = self._shape
        window = (
            (int(said["rows"]), int(said["columns"] or said["rows"]))
            if said["rows"]
            else (height, width)
        )
        pools = operator.endswith("POOL_2D")
        default = window if pools else (1, 1)
        stride = (int(said["stride"]),) * 2 if said.get("stride") else default
        same = not pools and not said.get("valid")
        if 0 in window or 0 in stride:
            raise ModelError(f"{self._name!r}: {word!r} has a size or a stride of 0")
        out = [
            -(-n // s) if same else (n - k) // s + 1
            for n, k, s in zip((height, width), window, stride, strict=True)
        ]
        if min(out) < 1:
            raise ModelError(
                f"{self._name!r}: {word!r} does not fit into an image of {height}x{width}"
            )
        options: dict[str, OptionValue] = {
            "padding": "SAME" if same else "VALID",
            "stride_w": stride[1],
            "stride_h": stride[0],
            "fused_activation_function": "NONE" if pools else "RELU",
        }
        if pools:
            options |= {"filter_width": window[1], "filter_height": window[0]}
            self._layer(operator, "Pool2DOptions", [self._last], (1, *out, depth), options)
            return
        options |= {"dilation_w_factor": 1, "dilation_h_factor": 1}
        if operator == "DEPTHWISE_CONV_2D":
            options["depth_multiplier"] = 1
            filters, shape, axis = depth, (1, *window, depth), 3
            kind = "DepthwiseConv2DOptions"
        else:
            filters = int(said["filters"])
            shape, axis, kind = (filters, *window, depth), 0, "Conv2DOptions"
        constants = self._weights(shape, filters, axis)
        self._layer(operator, kind, [self._last, *constants], (1, *out, filters), options)

    def _dense(self, units: int) -> None:
        if len(self._shape) != 2:
            features = math.prod(self._shape)
            wanted = np.array((1, features), np.int32)
            shape = self._tensor(wanted.shape, DType.INT32, None, wanted)
            self._layer("RESHAPE", "ReshapeOptions", [self._last, shape], (1, features), {})
        features = self._shape[-1]
        constants = self._weights((units, features), 1, 0, units)
        options: dict[str, OptionValue] = {
            "fused_activation_function": "NONE",
            "weights_format": "DEFAULT",
            "keep_num_dims": False,
        }
        inputs = [self._last, *constants]
        self._layer("FULLY_CONNECTED", "FullyConnectedOptions", inputs, (1, units), options)

    def _weights(
        self, shape: tuple[int, ...], scales: int, axis: int, bias: int | None = None
    ) -> list[int]:
        if scales > _MOST_CHANNELS:
            raise ModelError(f"{self._name!r}: {scales} filters fit no device")
        biases = scales if bias is None else bias
        products = _scales(_ACTIVATION * _WEIGHT, scales, 0, 0)
        weights = self._constant(shape, DType.INT8, _scales(_WEIGHT, scales, 0, axis))
        return [weights, self._constant((biases,), DType.INT32, products)]

    def _layer(
        self,
        operator: str,
        options_type: str,
        inputs: Sequence[int],
        shape: tuple[int, ...],
        options: dict[str, OptionValue],
        scale: float = _ACTIVATION,
    ) -> None:
        self._last = self._activation(shape, scale)
        self._operators.append(
            Operator(operator, tuple(inputs), (self._last,), Options(options), options_type)
        )

    def _activation(self, shape: tuple[int, ...], scale: float = _ACTIVATION) -> int:
        if 0 in shape:
            raise ModelError(f"{self._name!r}: a tensor of shape {list(shape)} has no elements")
        if math.prod(shape) > _MOST_ELEMENTS:
            raise ModelError(f"{self._name!r}: a tensor of shape {list(shape)} fits no device")
        return self._tensor(shape, DType.INT8, _scales(scale, 1, -128, 0))

    def _constant(self, shape: tuple[int, ...], dtype: DType, scales: Quantization) -> int:
        if 0 in shape:
            raise ModelError(f"{self._name!r}: weights of shape {list(shape)} have no elements")
        if math.prod(shape) > _MOST_ELEMENTS:
            raise ModelError(f"{self._name!r}: weights of shape {list(shape)} fit no device")
        return self._tensor(shape, dtype, scales, _zeros(shape, dtype))

    def _tensor(
        self,
        shape: tuple[int, ...],
        dtype: DType,
        scales: Quantization | None,
        data: Array | None = None,
    ) -> int:
        index = len(self._tensors)
        self._tensors.append(
            Tensor(index, f"t{index}", shape, dtype, scales, data, buffer=index + 1)
        )
        return index
