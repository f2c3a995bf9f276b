"""What does not fit together is refused by the estimate and by the run, in one sentence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import mcusim
from mcusim.errors import McusimError
from mcusim.experiments.profentzas import utensor_network
from mcusim.graph import Graph, Operator, Options, Quantization, Tensor

_NETWORKS = {
    "dnnruntime": lambda: mcusim.load_model("conv-16-mnist"),
    "utensor": lambda: utensor_network("cifar10", 16),
    "tflm@ncs1.4": lambda: mcusim.load_model("conv-16-mnist"),
}


def _with_tensor(graph: Graph, operator: int, position: int, **changes: object) -> Graph:
    main = graph.main
    index = main.operators[operator].inputs[position]
    tensors = list(main.tensors)
    tensors[index] = replace(tensors[index], **changes)  # type: ignore[arg-type]
    return replace(graph, subgraphs=(replace(main, tensors=tuple(tensors)),))


def _with_operator(graph: Graph, operator: int, changed: Operator) -> Graph:
    operators = list(graph.main.operators)
    operators[operator] = changed
    return replace(graph, subgraphs=(replace(graph.main, operators=tuple(operators)),))


def _first(graph: Graph, name: str) -> int:
    return next(i for i, o in enumerate(graph.main.operators) if o.name == name)


def _shorter(tensor: Tensor) -> dict[str, object]:
    data = np.asarray(tensor.data)[:-1]
    return {"data": data, "shape": data.shape}


def _damaged(graph: Graph, how: str) -> Graph:
    at = _first(graph, "CONV_2D")
    node = graph.main.node(at)
    operator = graph.main.operators[at]
    if how == "fewer filters":
        return _with_tensor(graph, at, 1, **_shorter(node.input(1)))
    if how == "shorter bias":
        return _with_tensor(graph, at, 2, **_shorter(node.input(2)))
    if how == "no scales":
        nothing = Quantization(np.zeros(0, np.float32), np.zeros(0, np.int64))
        return _with_tensor(graph, at, 1, quantization=nothing)
    if how == "two scales":
        two = Quantization(np.float32([0.1, 0.2]), np.zeros(2, np.int64))  # type: ignore[arg-type]
        return _with_tensor(graph, at, 1, quantization=two)
    if how == "weights missing":
        return _with_operator(graph, at, replace(operator, inputs=operator.inputs[:1]))
    options = {"no stride": {"stride_h": 0}, "dilated": {"dilation_h_factor": 2}}[how]
    changed = Options({**operator.options, **options})
    return _with_operator(graph, at, replace(operator, options=changed))


@pytest.mark.parametrize("runtime", _NETWORKS)
@pytest.mark.parametrize(
    "how",
    [
        "fewer filters",
        "shorter bias",
        "two scales",
        "no scales",
        "weights missing",
        "no stride",
        "dilated",
    ],
)
def test_damage_is_one_sentence(runtime: str, how: str) -> None:
    graph = _damaged(_NETWORKS[runtime](), how)
    board = mcusim.load_board("nrf52840-dk")
    said = []
    for attempt in (
        lambda: mcusim.estimate(graph, board, runtime),
        lambda: mcusim.Interpreter(graph, runtime=runtime),
    ):
        try:
            attempt()
        except McusimError as error:
            said.append(str(error))
    # uTensor's convolution reads no scale of its weights but the first.
    if (runtime, how) != ("utensor", "two scales"):
        assert len(said) == 2
        assert said[0] == said[1]
        assert "\n" not in said[0]
