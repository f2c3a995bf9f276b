"""Builds float32 networks in code, with seeded weights, as a converter would leave them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcusim.graph import Array, DType, Graph, Operator, Options, OptionValue, Subgraph, Tensor

__all__ = ["NetworkBuilder"]


class NetworkBuilder:
    """Adds layers one after the other; every method returns the index of its output tensor.

    Weights are drawn from a normal distribution scaled for the activation that follows (He et al.
    2015), from a generator seeded by ``seed``. Batch normalization is folded into the convolution
    before it, as converters do; :attr:`parameters` counts it as training frameworks do.

    Args:
        name: what to call the network.
        input_shape: with the batch of 1, NHWC or ``(1, features)``.
        seed: of the weights.
    """

    def __init__(self, name: str, input_shape: Sequence[int], seed: int = 0) -> None:
        self._name = name
        self._random = np.random.default_rng(seed)
        self._tensors: list[Tensor] = []
        self._operators: list[Operator] = []
        self._buffers = 0
        #: Trainable and running parameters, batch normalization's four a channel included.
        self.parameters = 0
        self._input = self._tensor("input", tuple(input_shape))
        self._last = self._input

    @property
    def last(self) -> int:
        """Index of the tensor that the next layer takes by default."""
        return self._last

    def shape(self, tensor: int | None = None) -> tuple[int, ...]:
        """Shape of a tensor; of the last one by default."""
        return self._tensors[self._last if tensor is None else tensor].shape

    def convolution(
        self,
        filters: int,
        kernel: tuple[int, int],
        *,
        stride: int = 1,
        padding: str = "SAME",
        activation: str = "RELU",
        batch_norm: bool = False,
        source: int | None = None,
    ) -> int:
        """CONV_2D with bias; ``kernel`` is (height, width)."""
        source = self._last if source is None else source
        _, height, width, channels = self.shape(source)
        weights = self._weights((filters, *kernel, channels), kernel[0] * kernel[1] * channels)
        options = self._windowed(stride, padding, activation)
        out_shape = (1, *_extent((height, width), kernel, stride, padding), filters)
        self._count(weights, filters, batch_norm)
        return self._layer(
            "CONV_2D",
            "Conv2DOptions",
            [source, self._constant("weights", weights), self._bias(filters)],
            out_shape,
            options | {"dilation_w_factor": 1, "dilation_h_factor": 1},
        )

    def depthwise(
        self,
        kernel: tuple[int, int],
        *,
        stride: int = 1,
        padding: str = "SAME",
        activation: str = "RELU",
        batch_norm: bool = False,
        multiplier: int = 1,
    ) -> int:
        """DEPTHWISE_CONV_2D with bias and ``multiplier`` filters a channel."""
        source = self._last
        _, height, width, channels = self.shape(source)
        channels *= multiplier
        weights = self._weights((1, *kernel, channels), kernel[0] * kernel[1])
        options = self._windowed(stride, padding, activation)
        self._count(weights, channels, batch_norm)
        return self._layer(
            "DEPTHWISE_CONV_2D",
            "DepthwiseConv2DOptions",
            [source, self._constant("weights", weights), self._bias(channels)],
            (1, *_extent((height, width), kernel, stride, padding), channels),
            options
            | {"depth_multiplier": multiplier, "dilation_w_factor": 1, "dilation_h_factor": 1},
        )

    def dense(self, units: int, *, activation: str = "RELU", batch_norm: bool = False) -> int:
        """FULLY_CONNECTED with bias, after flattening what is not flat."""
        if len(self.shape()) != 2:
            self.flatten()
        features = self.shape()[-1]
        weights = self._weights((units, features), features)
        self._count(weights, units, batch_norm)
        return self._layer(
            "FULLY_CONNECTED",
            "FullyConnectedOptions",
            [self._last, self._constant("weights", weights), self._bias(units)],
            (1, units),
            {"fused_activation_function": activation, "weights_format": "DEFAULT"},
        )

    def average_pool(self, window: tuple[int, int], stride: int | None = None) -> int:
        """AVERAGE_POOL_2D without padding; stride of one window by default."""
        return self._pool("AVERAGE_POOL_2D", window, stride)

    def max_pool(self, window: tuple[int, int], stride: int | None = None) -> int:
        """MAX_POOL_2D without padding; stride of one window by default."""
        return self._pool("MAX_POOL_2D", window, stride)

    def pad(self, margin: int) -> int:
        """PAD of an image by as much on its four sides."""
        _, height, width, channels = self.shape()
        margins = np.array([[0, 0], [margin, margin], [margin, margin], [0, 0]], np.int32)
        shape = (1, height + 2 * margin, width + 2 * margin, channels)
        return self._layer(
            "PAD", "PadOptions", [self._last, self._constant("margins", margins)], shape, {}
        )

    def add(self, other: int, *, activation: str = "NONE") -> int:
        """ADD of the last tensor and ``other``, of one shape."""
        return self._layer(
            "ADD",
            "AddOptions",
            [other, self._last],
            self.shape(),
            {"fused_activation_function": activation},
        )

    def flatten(self) -> int:
        """RESHAPE to (1, features)."""
        shape = (1, int(np.prod(self.shape())))
        wanted = self._constant("shape", np.array(shape, np.int32))
        return self._layer("RESHAPE", "ReshapeOptions", [self._last, wanted], shape, {})

    def softmax(self) -> int:
        """SOFTMAX over the last axis."""
        return self._layer("SOFTMAX", "SoftmaxOptions", [self._last], self.shape(), {"beta": 1.0})

    def graph(self) -> Graph:
        """The network so far, its last tensor the output."""
        subgraph = Subgraph(
            "main",
            tuple(self._tensors),
            (self._input,),
            (self._last,),
            tuple(self._operators),
        )
        return Graph((subgraph,), name=self._name, description="mcusim zoo")

    def _pool(self, operator: str, window: tuple[int, int], stride: int | None) -> int:
        _, height, width, channels = self.shape()
        step_h, step_w = (stride, stride) if stride else window
        return self._layer(
            operator,
            "Pool2DOptions",
            [self._last],
            (1, (height - window[0]) // step_h + 1, (width - window[1]) // step_w + 1, channels),
            {
                "padding": "VALID",
                "stride_w": step_w,
                "stride_h": step_h,
                "filter_width": window[1],
                "filter_height": window[0],
                "fused_activation_function": "NONE",
            },
        )

    def _layer(
        self,
        operator: str,
        options_type: str,
        inputs: Sequence[int],
        shape: tuple[int, ...],
        options: dict[str, OptionValue],
    ) -> int:
        name = f"{operator.lower()}_{len(self._operators)}"
        self._last = self._tensor(name, shape)
        self._operators.append(
            Operator(operator, tuple(inputs), (self._last,), Options(options), options_type)
        )
        return self._last

    def _tensor(self, name: str, shape: tuple[int, ...], data: Array | None = None) -> int:
        index = len(self._tensors)
        dtype = DType.FLOAT32 if data is None else DType(data.dtype.name)
        if data is not None:
            data.setflags(write=False)
        self._buffers += 1
        self._tensors.append(Tensor(index, name, shape, dtype, None, data, buffer=self._buffers))
        return index

    def _constant(self, kind: str, data: Array) -> int:
        return self._tensor(f"layer_{len(self._operators)}/{kind}", data.shape, data)

    def _bias(self, channels: int) -> int:
        bias = 0.05 * self._random.standard_normal(channels, np.float32)
        return self._constant("bias", bias.astype(np.float32))

    def _weights(self, shape: tuple[int, ...], fan_in: int) -> Array:
        scale = np.float32(np.sqrt(2.0 / fan_in))
        return self._random.standard_normal(shape, np.float32) * scale

    def _count(self, weights: Array, channels: int, batch_norm: bool) -> None:
        self.parameters += weights.size + channels + (4 * channels if batch_norm else 0)

    @staticmethod
    def _windowed(stride: int, padding: str, activation: str) -> dict[str, OptionValue]:
        return {
            "padding": padding,
            "stride_w": stride,
            "stride_h": stride,
            "fused_activation_function": activation,
        }


def _extent(
    size: tuple[int, int], kernel: tuple[int, int], stride: int, padding: str
) -> tuple[int, int]:
    if padding == "SAME":
        return -(-size[0] // stride), -(-size[1] // stride)
    return (size[0] - kernel[0]) // stride + 1, (size[1] - kernel[1]) // stride + 1
