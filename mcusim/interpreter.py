"""Runs a Graph on arrays, operator by operator, with the kernels of a runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mcusim.errors import InputError, UnsupportedOperatorError
from mcusim.graph import Array, Graph, Tensor
from mcusim.kernels import reference
from mcusim.kernels.contract import BoundKernel

__all__ = ["Interpreter", "RunResult", "run"]


@dataclass(frozen=True)
class RunResult:
    """What a run computed.

    Attributes:
        outputs: the graph's outputs, in order.
        tensors: every tensor of the main subgraph by index, when they were asked for.
    """

    outputs: tuple[Array, ...]
    tensors: Mapping[int, Array] = field(default_factory=dict)


class Interpreter:
    """A prepared model; variable tensors keep their values from call to call.

    Args:
        graph: the model.
        runtime: whose kernels compute it.

    Raises:
        UnsupportedOperatorError: the runtime itself would refuse an operator.
    """

    def __init__(self, graph: Graph, runtime: str = "tflm") -> None:
        self._graph = graph
        self._bound: list[BoundKernel] = []
        for node in graph.main.nodes:
            kernel = reference.KERNELS.get(node.name)
            if kernel is None:
                raise UnsupportedOperatorError(
                    f"{graph.name}: operator {node.index} ({node.name}): "
                    f"runtime {runtime} has no such kernel in mcusim"
                )
            self._bound.append(kernel.bind(node))

    def invoke(self, inputs: Array | Sequence[Array], *, tensors: bool = False) -> RunResult:
        """Run once, on one set of inputs or on a batch of independent ones.

        Args:
            inputs: an array for each input of the graph, of its shape and dtype; with one extra
                leading axis on every one, that many independent inferences.
            tensors: return every tensor, not only the outputs.

        Returns:
            The outputs, with the leading axis when the inputs had it.

        Raises:
            InputError: number, shapes or dtypes do not fit the model.
        """
        arrays, batched = self._checked(inputs)
        main = self._graph.main
        values: dict[int, Array] = {
            t.index: t.data[np.newaxis] for t in main.tensors if t.data is not None
        }
        values.update(zip(main.inputs, arrays, strict=True))
        for node, bound in zip(main.nodes, self._bound, strict=True):
            results = bound([values[i] if i >= 0 else None for i in node.operator.inputs])
            values.update(zip(node.operator.outputs, results, strict=True))

        def unbatched(array: Array) -> Array:
            return array if batched else array[0]

        return RunResult(
            tuple(unbatched(values[i]) for i in main.outputs),
            {i: unbatched(v) for i, v in values.items()} if tensors else {},
        )

    def _checked(self, inputs: Array | Sequence[Array]) -> tuple[list[Array], bool]:
        given = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
        wanted = self._graph.inputs
        if len(given) != len(wanted):
            raise InputError(
                f"{self._graph.name}: takes {len(wanted)} inputs, {len(given)} were given"
            )
        arrays = [np.asarray(a) for a in given]
        batched = all(a.ndim == len(t.shape) + 1 for a, t in zip(arrays, wanted, strict=True))
        for array, tensor in zip(arrays, wanted, strict=True):
            self._check(array[0] if batched and len(array) else array, tensor)
        return (arrays if batched else [a[np.newaxis] for a in arrays]), batched

    def _check(self, array: Array, tensor: Tensor) -> None:
        if array.shape != tensor.shape or array.dtype != tensor.dtype.numpy:
            raise InputError(
                f"{self._graph.name}: input {tensor.name!r} takes {tensor.dtype.value} of shape "
                f"{tensor.shape}, {array.dtype} of shape {array.shape} was given"
            )


def run(
    graph: Graph,
    inputs: Array | Sequence[Array],
    *,
    runtime: str = "tflm",
    tensors: bool = False,
) -> RunResult:
    """Run a model once: :class:`Interpreter` and one :meth:`Interpreter.invoke`.

    Raises:
        UnsupportedOperatorError: the runtime itself would refuse an operator.
        InputError: inputs do not fit the model.
    """
    return Interpreter(graph, runtime).invoke(inputs, tensors=tensors)
