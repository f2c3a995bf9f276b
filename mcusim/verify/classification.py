"""How often a classifier is right under a runtime, over a labelled data set."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np

from mcusim.errors import InputError
from mcusim.graph import Array, Graph
from mcusim.interpreter import Interpreter
from mcusim.verify.litert import litert_tensors
from mcusim.verify.quantization_error import quantized_inputs

__all__ = ["LITERT", "Score", "check_labels", "scores"]

#: LiteRT's own interpreter, beside mcusim's runtimes.
LITERT = "litert"

#: Inferences of one piece of work: enough to be worth a process's while, few enough to report.
_PART = 256


@dataclass(frozen=True)
class Score:
    """Some labelled inferences.

    Attributes:
        way: name of what computed them.
        inferences: how many.
        correct: how many have the label's class as their largest output.
    """

    way: str
    inferences: int
    correct: int


def scores(
    ways: Sequence[tuple[str, Graph, str]],
    inputs: Sequence[Array],
    labels: Array,
    *,
    core: str = "m4",
    processes: int | None = None,
) -> Iterator[Score]:
    """Run a labelled data set in parts, on all cores; each part's score as it is done.

    The labels are those that :func:`check_labels` accepts.

    Args:
        ways: name, model and runtime of each; the runtime may be :data:`LITERT`.
        inputs: float32 arrays with a leading axis of inferences.
        labels: the class of each inference, integers.
        core: the device's core.
        processes: as many as there are cores when None.

    Raises:
        InputError: labels fit neither the inputs nor the model's output.
        ModelError: a runtime cannot run a model.
    """
    labels = check_labels([(name, graph) for name, graph, _ in ways], inputs, labels)
    count = len(labels)
    parts = [slice(i, i + _PART) for i in range(0, count, _PART)]
    work = [(way, part) for way in ways for part in parts]
    workers = min(processes or os.cpu_count() or 1, len(work))
    if workers < 2:
        for way, part in work:
            yield _score(way, [a[part] for a in inputs], labels[part], core)
        return
    # Forking a process that has started threads is unsafe, and the interpreters start some.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [
            pool.submit(_score, way, [a[part] for a in inputs], labels[part], core)
            for way, part in work
        ]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def check_labels(
    models: Sequence[tuple[str, Graph]], inputs: Sequence[Array], labels: Array
) -> Array:
    """Labels in one row, where they fit the inputs and what the models tell apart.

    Args:
        models: name and graph of each classifier.
        inputs: arrays with a leading axis of inferences.
        labels: the class of each inference, integers, any shape of as many elements.

    Raises:
        InputError: they are no whole numbers, not as many as inputs, or no class of a model.
    """
    labels = np.asarray(labels).reshape(-1)
    count = len(inputs[0]) if inputs else 0
    if labels.dtype.kind not in "iu":
        raise InputError(f"labels are whole numbers, the classes, not {labels.dtype}")
    if len(labels) != count:
        raise InputError(f"{count} inputs need as many whole numbers as labels, not {len(labels)}")
    for name, graph in models:
        classes = graph.outputs[0].elements
        if count and not 0 <= labels.min() <= labels.max() < max(classes, 2):
            raise InputError(f"{name}: labels must lie in 0 to {classes - 1}, one for each output")
        if classes < 2:
            raise InputError(f"{name}: an output of one element tells no class")
    return labels


def _score(way: tuple[str, Graph, str], inputs: Sequence[Array], labels: Array, core: str) -> Score:
    name, graph, runtime = way
    given = quantized_inputs(graph, inputs)
    if runtime == LITERT:
        output = litert_tensors(graph, given)[graph.outputs[0].name]
    else:
        output = Interpreter(graph, runtime, core=core).invoke(given).outputs[0]
    classes = output.reshape(len(labels), -1).argmax(axis=1)
    return Score(name, len(labels), int((classes == labels).sum()))
