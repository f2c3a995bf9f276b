"""Holds operators with variables against the TFLite Micro interpreter over several calls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcusim.graph import Array, Graph, Tensor
from mcusim.interpreter import Interpreter
from mcusim.tflite import write
from tests import oracles
from tests.kernels.agreement import bits

__all__ = ["assert_sequences_agree", "variable"]


def variable(tensor: Tensor) -> Tensor:
    """The tensor as a variable."""
    return Tensor(0, tensor.name, tensor.shape, tensor.dtype, tensor.quantization, is_variable=True)


def assert_sequences_agree(graph: Graph, sequences: Sequence[Sequence[Array]]) -> None:
    """mcusim gives what TFLite Micro gives, bit for bit, in every call of each sequence.

    Each sequence starts from an interpreter without history; in a batch they run side by side.

    Args:
        graph: a model of one input and one output.
        sequences: the inputs of each sequence's calls, as many in each.
    """
    expected = []
    for calls in sequences:
        theirs = oracles.tflm(write(graph), *[[x] for x in calls])
        interpreter = Interpreter(graph)
        for x, (output,) in zip(calls, theirs, strict=True):
            (mine,) = interpreter.invoke(x).outputs
            np.testing.assert_array_equal(bits(mine), bits(output.reshape(mine.shape)))
        expected.append([output for (output,) in theirs])
    side_by_side = Interpreter(graph)
    for call in range(len(sequences[0])):
        (mine,) = side_by_side.invoke(np.stack([calls[call] for calls in sequences])).outputs
        theirs_now = np.stack([outputs[call] for outputs in expected]).reshape(mine.shape)
        np.testing.assert_array_equal(bits(mine), bits(theirs_now))
