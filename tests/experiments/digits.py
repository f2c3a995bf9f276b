"""A small convolutional network trained on scikit-learn's digits, in NumPy.

It stands in for LeNet-5 on MNIST: 8x8 pixels, ten classes, a convolution, average pooling and a
dense layer. ``python -m tests.experiments.digits`` prints its accuracies.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from importlib import import_module

import numpy as np
import numpy.typing as npt

import mcusim
from mcusim.experiments.heim_accuracy import WAYS
from mcusim.graph import Graph
from mcusim.verify.quantization_error import quantized_inputs
from mcusim.zoo.builder import NetworkBuilder
from mcusim.zoo.quantization import activation_ranges, quantized

Floats = npt.NDArray[np.float32]

_FILTERS, _EPOCHS, _BATCH, _RATE = 16, 40, 32, 0.5
_TRAINED_ON = 1200
_LARGE = 20


@dataclass(frozen=True)
class Digits:
    """Images (N, 8, 8, 1) in [0, 1], and their labels."""

    images: Floats
    labels: npt.NDArray[np.int64]


def digits() -> tuple[Digits, Digits]:
    """Those to train on, and those to test with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn's own imports
        datasets = import_module("sklearn.datasets")
    images, labels = datasets.load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    cut = _TRAINED_ON
    return Digits(images[:cut], labels[:cut]), Digits(images[cut:], labels[cut:])


def enlarged() -> Digits:
    """All of them, bilinearly enlarged to 20x20 pixels, in the middle of 32x32, as MNIST's are."""
    train, test = digits()
    images = np.concatenate([train.images, test.images])[..., 0]
    at = np.clip((np.arange(_LARGE) + 0.5) * 8 / _LARGE - 0.5, 0, 7)
    low = np.minimum(at.astype(int), 6)
    share = (at - low).astype(np.float32)
    rows = images[:, low] * (1 - share)[:, None] + images[:, low + 1] * share[:, None]
    whole = rows[..., low] * (1 - share) + rows[..., low + 1] * share
    edge = (32 - _LARGE) // 2
    padded = np.pad(whole, ((0, 0), (edge, edge), (edge, edge)))
    return Digits(padded[..., np.newaxis], np.concatenate([train.labels, test.labels]))


def trained(data: Digits) -> Graph:
    """The float32 network after stochastic gradient descent on the cross-entropy."""
    random = np.random.default_rng(0)
    kernel = random.normal(0, 0.3, (9, _FILTERS))
    bias = np.zeros(_FILTERS)
    dense = random.normal(0, 0.1, (9 * _FILTERS, 10))
    offset = np.zeros(10)
    windows = np.lib.stride_tricks.sliding_window_view(data.images[..., 0], (3, 3), axis=(1, 2))
    columns = windows.reshape(-1, 6, 6, 9).astype(np.float64)
    for _ in range(_EPOCHS):
        order = random.permutation(len(columns))
        for start in range(0, len(order), _BATCH):
            chosen = order[start : start + _BATCH]
            rows, labels = columns[chosen], data.labels[chosen]
            sums = rows @ kernel + bias
            features = _pooled(np.maximum(sums, 0)).reshape(len(chosen), -1)
            logits = features @ dense + offset
            shares = np.exp(logits - logits.max(axis=1, keepdims=True))
            shares /= shares.sum(axis=1, keepdims=True)
            shares[np.arange(len(chosen)), labels] -= 1
            shares /= len(chosen)
            back = (shares @ dense.T).reshape(-1, 3, 3, _FILTERS)
            slopes = back.repeat(2, axis=1).repeat(2, axis=2) / 4 * (sums > 0)
            dense -= _RATE * features.T @ shares
            offset -= _RATE * shares.sum(axis=0)
            kernel -= _RATE * np.einsum("nijk,nijf->kf", rows, slopes)
            bias -= _RATE * slopes.sum(axis=(0, 1, 2))
    return _graph(kernel, bias, dense, offset)


def _pooled(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    count = len(values)
    pooled: npt.NDArray[np.float64] = values.reshape(count, 3, 2, 3, 2, _FILTERS).mean(axis=(2, 4))
    return pooled


def _graph(*trained_weights: npt.NDArray[np.float64]) -> Graph:
    kernel, bias, dense, offset = trained_weights
    net = NetworkBuilder("digits", (1, 8, 8, 1))
    net.convolution(_FILTERS, (3, 3), padding="VALID")
    net.average_pool((2, 2))
    net.flatten()
    net.dense(10, activation="NONE")
    net.softmax()
    graph = net.graph()
    tensors = list(graph.main.tensors)
    values = {
        "CONV_2D": (kernel.T.reshape(_FILTERS, 3, 3, 1), bias),
        "FULLY_CONNECTED": (dense.T, offset),
    }
    for node in graph.main.nodes:
        for tensor, data in zip(node.inputs[1:], values.get(node.name, ()), strict=False):
            assert tensor is not None
            held = np.ascontiguousarray(data, np.float32)
            tensors[tensor.index] = replace(tensor, data=held)
    return replace(graph, subgraphs=(replace(graph.main, tensors=tuple(tensors)),))


def accuracies() -> dict[str, tuple[int, float]]:
    """Correct answers and mean cross-entropy on the images to test, by way of running it."""
    train, test = digits()
    exact = trained(train)
    ranges = activation_ranges(exact, [image[np.newaxis] for image in train.images[:200]])
    graphs = {"float32": exact, "int8": quantized(exact, ranges)}
    return {name: score(graphs[kind], test, runtime) for name, (kind, runtime) in WAYS.items()}


def score(graph: Graph, test: Digits, runtime: str) -> tuple[int, float]:
    """Correct answers and mean cross-entropy of a classifier under a runtime."""
    inputs = quantized_inputs(graph, [test.images[:, np.newaxis]])
    output = mcusim.run(graph, inputs, runtime=runtime).outputs[0].reshape(-1, 10)
    shares = output.astype(np.float64)
    if graph.outputs[0].quantization is not None and output.dtype == np.int8:
        shares = (shares + 128) / 256  # what SOFTMAX prescribes
    rows = np.arange(len(test.labels))
    # An int8 share of 0 is less than half of 1/256.
    loss = -np.log(np.maximum(shares[rows, test.labels], 1 / 512)).mean()
    return int((output.argmax(axis=1) == test.labels).sum()), float(loss)


if __name__ == "__main__":
    print(accuracies())
