"""Tensors as LiteRT's own interpreter computes them, to compare a runtime's with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcusim.errors import InputError, ModelError
from mcusim.graph import Array, Graph
from mcusim.tflite import write

__all__ = ["litert_tensors"]


def litert_tensors(graph: Graph, inputs: Sequence[Array]) -> dict[str, Array]:
    """Every tensor that LiteRT's reference kernels compute, by name.

    Tensors whose name another one bears as well are left out.

    Args:
        graph: the model.
        inputs: an array for each input, with a leading axis of inferences.

    Raises:
        InputError: ``ai-edge-litert`` is not installed.
        ModelError: LiteRT refuses the model.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError:
        raise InputError(
            "comparing with LiteRT needs its interpreter: pip install ai-edge-litert"
        ) from None
    computed = [t for node in graph.main.nodes for t in node.outputs]
    names = [t.name for t in computed]
    wanted = [t for t in computed if names.count(t.name) == 1]
    parts: dict[str, list[Array]] = {t.name: [] for t in wanted}
    try:
        interpreter = Interpreter(
            model_content=write(graph),
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
            experimental_preserve_all_tensors=True,
        )
        interpreter.allocate_tensors()
        places = [detail["index"] for detail in interpreter.get_input_details()]
        for i in range(len(inputs[0]) if inputs else 1):
            for place, array in zip(places, inputs, strict=True):
                interpreter.set_tensor(place, np.ascontiguousarray(array[i]))
            interpreter.invoke()
            for tensor in wanted:
                parts[tensor.name].append(np.array(interpreter.get_tensor(tensor.index)))
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"{graph.name}: LiteRT refuses it ({' '.join(str(error).split())})"
        ) from None
    return {name: np.stack(arrays) for name, arrays in parts.items()}
